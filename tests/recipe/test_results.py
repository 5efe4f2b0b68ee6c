# SPDX-License-Identifier: Apache-2.0
"""docs/results.md says what the stored data say, to the byte; and what could have foretold a child is told nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recipe.evidence.beliefs import judged, others_mean, remembered
from recipe.evidence.paired import best_after, by_arm, compared, differences
from recipe.evidence.real_results import best_so_far

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_from_the_data_byte_for_byte() -> None:
    made = subprocess.run([sys.executable, "-m", "recipe.evidence.results"], cwd=ROOT, capture_output=True, check=True)
    assert made.stdout == (ROOT / "docs" / "results.md").read_bytes()


def test_differences_are_of_the_seeds_that_both_have() -> None:
    seeds = {"a": (1, 2, 3), "b": (2, 3, 4)}
    rows = [{"arm": arm, "seed": seed, "test": seed + (arm == "b")} for arm, those in seeds.items() for seed in those]
    arms = by_arm(rows)
    assert differences(arms, "b", "a") == [1.0, 1.0]
    assert compared(arms, "b", "a") == "+1.000 [+1.000, +1.000], p 0.5000, n=2"


def test_the_best_that_calls_have_paid_for_ends_with_the_first_workflow_that_they_do_not_cover() -> None:
    row = {"path": [(3, 0.9, 50), (1, 0.2, 30), (2, 0.5, 20), (4, 0.1, 0)]}
    assert [best_after(row, calls) for calls in (0, 49, 50, 99, 100)] == [0.2, 0.2, 0.5, 0.5, 0.9]


def test_the_best_so_far_is_of_workflows_that_ran_on_all_problems() -> None:
    scores = [(1, 0.1, 40), (2, 0.9, 20), (4, 0.3, 40), (5, 0.2, 40)]  # round 2 was given up, round 3 rejected
    assert best_so_far(scores, 4) == [0.1, 0.1, 0.1, 0.3, 0.3]


def test_memory_knows_earlier_steps_alone() -> None:
    def case(step: int, session: int, digest: str, target: float) -> dict[str, object]:
        return {"step": step, "session": session, "digest": digest, "target": target, "belief": 0.5}

    found = [
        case(1, 0, "a", 1.0),
        case(1, 1, "a", 0.0),
        case(2, 2, "a", 0.3),
        case(2, 2, "b", 0.3),
        case(3, 3, "a", 0.1),
    ]
    assert remembered(found) == pytest.approx([0.5, 0.5, 0.5, 0.5, (2.0 + 1.0 + 0.0 + 0.3) / 7])


def test_a_table_leaves_the_case_itself_out_and_concordance_is_of_pairs_in_a_session() -> None:
    target = np.array([0.2, 0.4, 0.9])
    mean = others_mean(["a", "a", "b"], target)
    assert mean[:2] == pytest.approx([0.4, 0.2])
    assert np.isnan(mean[2])
    session = np.array([0, 0, 1])
    assert judged(np.array([0.1, 0.9, 0.0]), target, session, ["a", "b", "c"])["concordance"] == 1.0
    assert judged(np.array([0.5, 0.5, 0.0]), target, session, ["a", "b", "c"])["concordance"] == 0.5
