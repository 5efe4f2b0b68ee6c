# SPDX-License-Identifier: Apache-2.0
"""docs/results.md says what the stored data say, to the byte."""

import subprocess
import sys
from pathlib import Path

import pytest

from recipe.evidence.guided_results import steering
from recipe.evidence.paired import best_after, by_arm, compared, differences, mean_interval, run_interval, sign_flip
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
    assert compared(arms, "b", "b") == "the same score in all 3 pairs"


def test_means_that_differ_by_the_order_of_their_sum_alone_are_a_tie() -> None:
    gained = [0.1, 0.2, 0.3, -0.3, -0.2, -0.1]  # in floats its sum is not that of its negative
    assert sum(gained) != 0.0
    assert sign_flip(gained) == 1.0
    assert sign_flip([1.0] * 5) == 2 / 2**5


def test_an_interval_over_few_runs_is_students() -> None:
    found = run_interval([0.0, 1.0, 2.0])
    assert found == pytest.approx((1.0, 1 - 4.302653 / 3**0.5, 1 + 4.302653 / 3**0.5), abs=1e-5)
    assert found[1] < mean_interval([0.0, 1.0, 2.0])[1]


def test_one_mean_is_rounded_one_way() -> None:
    eighths = [0.1 + 0.2, 0.475]  # 0.3 and a bit: the mean is 0.3875 and a bit
    assert mean_interval(eighths)[0] == mean_interval([0.3, 0.475])[0] == 0.3875


def test_an_arm_that_steers_is_compared_with_the_same_arm_at_weight_0() -> None:
    names = ("a, w=0", "a, w=0.5", "a, w=1 by skill", "a, remembering Q, w=1", "a, w=1, warm", "a, w=0, warm", "b, w=1")
    arms = by_arm({"arm": name, "seed": 1} for name in names)
    assert dict(steering(arms)) == {**dict.fromkeys(names[1:4], "a, w=0"), "a, w=1, warm": "a, w=0, warm"}


def test_the_best_that_calls_have_paid_for_ends_with_the_first_workflow_that_they_do_not_cover() -> None:
    row = {"path": [(3, 0.9, 50), (1, 0.2, 30), (2, 0.5, 20), (4, 0.1, 0)]}
    assert [best_after(row, calls) for calls in (0, 49, 50, 99, 100)] == [0.2, 0.2, 0.5, 0.5, 0.9]


def test_the_best_so_far_is_of_workflows_that_ran_on_all_problems() -> None:
    scores = [(1, 0.1, 40), (2, 0.9, 20), (4, 0.3, 40), (5, 0.2, 40)]  # round 2 was given up, round 3 rejected
    assert best_so_far(scores, 4) == [0.1, 0.1, 0.1, 0.3, 0.3]
