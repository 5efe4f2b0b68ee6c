# SPDX-License-Identifier: Apache-2.0
"""Recorded outputs of AFlow's selection and convergence against ours (reached through tests.golden_aflow)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from aflow_env.search.choice.selection import candidates, mixed_probabilities
from aflow_env.search.session import Convergence, ConvergenceVerdict


def converged(
    scores: Iterable[Sequence[float]], top_k: int = 3, z: float = 0.0, consecutive: int = 5
) -> ConvergenceVerdict:
    """The verdict on rounds in round order, each with its scores (one per repeat, at least one)."""
    rule = Convergence(top_k, z, consecutive)
    for repeats in scores:
        rule.record(repeats)
    return rule.verdict


def check_selection(section: dict[str, Any]) -> tuple[int, float]:
    """(cases, largest error of a probability); infinite where the candidates or their order differ."""
    errors = [0.0]
    for case in section["cases"]:
        scores = np.array(case["scores_by_round"], dtype=np.float64)
        chosen = candidates(scores, case["sample"])
        if (chosen + 1).tolist() != case["rounds"]:
            errors.append(float("inf"))
            continue
        ours = mixed_probabilities(scores[chosen], section["alpha"], section["lambda_"])
        errors.append(float(np.abs(ours - case["probabilities"]).max()))
    return len(section["cases"]), max(errors)


def check_convergence(section: dict[str, Any]) -> tuple[int, float]:
    """(cases, 0), or infinity where a verdict or the rounds it names differ."""
    wrong = 0
    for case in section["cases"]:
        by_round: dict[int, list[float]] = {}
        for entry in case["results"]:
            by_round.setdefault(entry["round"], []).append(entry["score"])
        scores = [by_round[round_] for round_ in sorted(by_round)]
        verdict = converged(scores, section["top_k"], section["z"], section["consecutive_rounds"])
        wrong += list(verdict) != case["converged"]
    return len(section["cases"]), float("inf") if wrong else 0.0
