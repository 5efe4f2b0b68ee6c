# SPDX-License-Identifier: Apache-2.0
"""Scores equal AFlow's own, on its recorded outputs."""

import json
from pathlib import Path

import pytest

from tests.tasks.golden import DIFFERENT, check_scorers


def test_scorers_equal_aflow(shared: Path) -> None:
    cases = json.loads((shared / "golden" / "aflow.json").read_text(encoding="utf-8"))["scorers"]
    count, error = check_scorers(cases)
    assert count == len(cases) > 300
    assert error < 1e-7


def test_every_difference_is_one_that_aflow_scores_otherwise(shared: Path) -> None:
    """The list of different scores holds no case that is equal, and none that is not recorded."""
    cases = json.loads((shared / "golden" / "aflow.json").read_text(encoding="utf-8"))["scorers"]
    recorded = {(case["task"], case["answer"], case["output"]): case["score"] for case in cases}
    assert all(abs(recorded[key] - ours) > 0.1 for key, ours in DIFFERENT.items())


def test_a_difference_is_seen_and_an_unknown_task_is_refused() -> None:
    assert check_scorers([{"task": "gsm8k", "answer": "1", "output": "1", "score": 0.0}]) == (1, 1.0)
    math = {"task": "math", "answer": r"\boxed{\frac{1}{2}}", "output": r"\boxed{0.5}", "score": 1}
    assert check_scorers([math]) == (1, 0.0)
    with pytest.raises(ValueError, match="no scorer for"):
        check_scorers([{"task": "chess", "answer": "", "output": "", "score": 0}])
