# SPDX-License-Identifier: Apache-2.0
"""Searches in which a served model proposes edits on the table, as far as they need no model."""

from pathlib import Path

import pytest

from recipe.evidence import proposers
from recipe.evidence.guidance import Arm, folder_name, run_sweep
from recipe.evidence.outcomes import outcomes


@pytest.mark.parametrize("lookahead", [(), proposers.ONE_BY_ONE])
def test_every_proposal_has_one_fate(tmp_path: Path, lookahead: tuple[str, ...]) -> None:
    """A search of even draws is counted whole; its best workflow's test score is read from the table's other half."""
    arm = Arm("random", None, ("proposer=random", "q.kind=none", "rl_weight=0", *proposers.OPEN, *lookahead))
    run_sweep(arm, ("table=mbpp", "rounds=4", *arm.overrides, "seed=range(3,4)"), tmp_path, 1)
    row = proposers.measured(arm, tmp_path / folder_name(arm.name) / "seed=3", outcomes("mbpp"))
    drawn = sum(row["proposals"].values())
    assert drawn == 4 if lookahead else drawn >= 8
    assert set(row["proposals"]) <= {"new", "repeated", "outside"}, "even draws from the grammar are valid"
    assert (row["seed"], row["policy_tokens"]) == (3, 0)
    assert 0 < row["test"] < 1
    assert row["calls"] >= 30
