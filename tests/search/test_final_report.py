# SPDX-License-Identifier: Apache-2.0
"""The end of a run names the key that leaves the start workflow without a score."""

from pathlib import Path

import pytest

from aflow_env.errors import BudgetExhausted
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import report
from tests.search.quick import config


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("final_calls=0",), r"final_calls=0 asks nothing.*raise final_calls or problems\.validate"),
        (("final_calls=1",), r"final_calls=1 is too few"),
        (("budget.calls=0",), r"budget\.calls is reached: .* Raise budget\.calls"),
    ],
)
async def test_a_run_that_never_validated_says_why_it_has_no_report(
    tmp_path: Path, overrides: tuple[str, ...], said: str
) -> None:
    """A training without validation has no score of the start on validate problems."""
    assembly = await Assembly.open(config(tmp_path, "limit=4", "task.test_size=5", *overrides))
    try:
        with pytest.raises(BudgetExhausted, match=said):
            await report(assembly)
    finally:
        await assembly.aclose()
