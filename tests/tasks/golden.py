# SPDX-License-Identifier: Apache-2.0
"""Recorded scores of AFlow against ours: cases with `task`, `answer`, `output` and `score`."""

from collections.abc import Callable, Sequence
from typing import Any

from aflow_env.tasks.benchmarks.math import MathJudge
from aflow_env.tasks.scorers import score_alternatives, score_f1, score_number

# What we score otherwise than AFlow, and why: (task, answer, output) -> our score. docs/tasks.md states the rules.
DIFFERENT = {
    ("drop", "23 yards|24 yards", "23 yards|24 yards (final)"): 2 / 3,  # an output is one answer: no parts at |
    ("drop", "3|4|", "3|4| dollars"): 0.0,  # the same
    ("drop", "a an the", "a an the"): 1.0,  # a gold of articles alone is compared with its articles
}


def expected(case: dict[str, Any]) -> float:
    """AFlow's recorded score, or ours where a rule of ours differs."""
    return DIFFERENT.get((case["task"], case["answer"], case["output"]), float(case["score"]))


def check_scorers(cases: Sequence[dict[str, Any]]) -> tuple[int, float]:
    """(cases, largest difference of any score). Raises ValueError for a task that has no text scorer."""
    judge = MathJudge("aflow")
    scorers: dict[str, Callable[[str, str], Any]] = {
        "gsm8k": score_number,
        "hotpotqa": score_f1,
        "drop": score_alternatives,
        "math": judge.judge,
    }
    if unknown := {case["task"] for case in cases} - scorers.keys():
        raise ValueError(f"no scorer for {sorted(unknown)}; there are {', '.join(scorers)}")
    try:
        errors = [
            abs(scorers[case["task"]](str(case["answer"]), str(case["output"])).value - expected(case))
            for case in cases
        ]
    finally:
        judge.close()
    return len(cases), max(errors, default=0.0)
