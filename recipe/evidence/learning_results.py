# SPDX-License-Identifier: Apache-2.0
"""GiGPO beside GRPO over seeds: medians, their intervals, paired differences."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

RESAMPLES = 10_000
HEAD = """\
| environment | estimator | n | steps | reached | q_rank | score at the end |
|---|---|---|---|---|---|---|
"""


def interval(values: Sequence[float]) -> str:
    """Return the median with the 95 % percentile interval of the bootstrap (seed 0)."""
    draws = np.random.default_rng(0).choice(np.asarray(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return f"{median(values):g} [{low:g}, {high:g}]"


def table(runs: Iterable[Mapping[str, Any]]) -> str:
    """Return a Markdown table with a line for each environment and estimator."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault((run["environment"], run["estimator"]), []).append(run)
    lines = []
    for (environment, estimator), mine in sorted(groups.items()):
        ranks = [each["q_rank"] for each in mine if each["q_rank"] is not None]
        cells = [
            interval([each["steps"] for each in mine]),
            f"{sum(each['steps'] <= each['of'] for each in mine)}/{len(mine)}",
            interval(ranks) if ranks else "-",
            interval([each["last"] for each in mine]),
        ]
        lines.append(f"| {environment} | {estimator} | {len(mine)} | {' | '.join(cells)} |\n")
    return HEAD + "".join(lines)


def differences(runs: Iterable[Mapping[str, Any]], environment: str) -> list[int]:
    """Return the steps of GiGPO minus those of GRPO, for the seeds that both have."""
    steps = {(run["estimator"], run["seed"]): run["steps"] for run in runs if run["environment"] == environment}
    seeds = sorted(seed for estimator, seed in steps if estimator == "gigpo" and ("grpo", seed) in steps)
    return [steps["gigpo", seed] - steps["grpo", seed] for seed in seeds]
