# SPDX-License-Identifier: Apache-2.0
"""Recorded outputs of AFlow: who compares which section of the file. Reached by `python -m tests.golden FILE`."""

from collections.abc import Callable
from typing import Any

from tests.search.golden import check_convergence, check_selection
from tests.tasks.golden import check_scorers

CHECKS: dict[str, Callable[[Any], tuple[int, float]]] = {
    "selection": check_selection,
    "convergence": check_convergence,
    "scorers": check_scorers,
}


def check(data: dict[str, Any]) -> tuple[int, float]:
    """(cases, largest error) over all sections. Raises ValueError for a section that nobody compares."""
    if unknown := data.keys() - CHECKS.keys():
        raise ValueError(f"nothing compares the sections {sorted(unknown)}")
    found = [CHECKS[name](section) for name, section in data.items()]
    return sum(cases for cases, _ in found), max(error for _, error in found)
