# SPDX-License-Identifier: Apache-2.0
"""How the series of a figure look."""

import pytest

pytest.importorskip("matplotlib", reason="needs aflow-env[report]")

from aflow_env.report.html.drawing import marker, series


def test_groups_of_a_large_sweep_look_different() -> None:
    """No two of 42 groups share both colour and marker."""
    assert len({(series(place), marker(place)) for place in range(42)}) == 42
