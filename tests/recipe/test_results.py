# SPDX-License-Identifier: Apache-2.0
"""docs/results.md prints the stored data, to the byte."""

import subprocess
import sys
from pathlib import Path

import pytest

from recipe.evidence.paired import by_arm, differences, gain, interval, mean, success

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "results.md"


def test_the_page_is_made_from_the_data_byte_for_byte() -> None:
    """The committed page is the generator's output, at most 200 lines."""
    made = subprocess.run([sys.executable, "-m", "recipe.evidence.results"], cwd=ROOT, capture_output=True, check=True)
    assert made.stdout == DOCS.read_bytes()
    assert len(DOCS.read_text().splitlines()) <= 200


def test_differences_are_of_the_seeds_that_both_have() -> None:
    """A seed that one arm lacks is in no difference."""
    seeds = {"a": (1, 2, 3), "b": (2, 3, 4)}
    rows = [{"arm": arm, "seed": seed, "test": seed + (arm == "b")} for arm, mine in seeds.items() for seed in mine]
    arms = by_arm(rows)
    assert differences(arms, "b", "a") == [1.0, 1.0]
    assert gain(arms, "b", "a") == "+1.000±0.000"
    assert mean(arms, "b") == 4.0


def test_an_interval_over_few_trainings_is_students() -> None:
    """Three values have the t quantile of two degrees of freedom."""
    assert interval([0.0, 1.0, 2.0]) == pytest.approx((1.0, 4.302653 / 3**0.5), abs=1e-5)


def test_trainings_succeed_where_they_reach_the_bar() -> None:
    """The mean gain is of the trainings that reach the bar; the share has Wilson's interval."""
    assert success([0.3, 0.3, 0.0], 0.2) == (2, "0.21 to 0.94", "+0.300±0.000")
    assert success([0.3, 0.1], 0.2) == (1, "0.09 to 0.91", "+0.300")
    assert success([0.0], 0.2) == (0, "0.00 to 0.79", "")
