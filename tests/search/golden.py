# SPDX-License-Identifier: Apache-2.0
"""Recorded outputs of AFlow's selection and convergence against ours (reached through tests.golden_aflow)."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from aflow_env.search.choice.selection import candidates, mixed_probabilities
from aflow_env.search.session import Convergence


def converged(scores: Iterable[Sequence[float]], top_k: int = 3, consecutive: int = 5) -> list[bool]:
    """Whether the search has converged after each round, from each round's scores (one per repeat, at least one)."""
    rule = Convergence(top_k, consecutive)
    return [rule.record(float(np.mean(repeats))) for repeats in scores]


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
    """(cases, 0), or infinity where a verdict differs after any round, or z is not AFlow's default.

    AFlow's verdict is (whether it has converged, the first and the last round without change).
    """
    wrong = int(section["z"] != 0)
    for case in section["cases"]:
        by_round: dict[int, list[float]] = {}
        for entry in case["results"]:
            by_round.setdefault(entry["round"], []).append(entry["score"])
        scores = [by_round[round_] for round_ in sorted(by_round)]
        top_k, (found, _, last) = section["top_k"], case["converged"]
        theirs = [found and place >= max(top_k, last) for place in range(len(scores))]
        wrong += converged(scores, top_k, section["consecutive_rounds"]) != theirs
    return len(section["cases"]), float("inf") if wrong else 0.0
