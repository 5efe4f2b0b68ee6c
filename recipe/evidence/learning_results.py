# SPDX-License-Identifier: Apache-2.0
"""The section of docs/results.md on learning: medians over seeds, their intervals, and the paired difference."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

RESAMPLES = 10_000
HEAD = """\
| environment | estimator | n | steps | reached | q_rank | score at the end |
|---|---|---|---|---|---|---|
"""
TEXT = """
## Does the policy learn, and is GiGPO faster than GRPO? SIMULATED executor

Two environments whose optimum is known, through the real verl trainer with the tiny policy, {n} seeds each
(`recipe/evidence/learning.py`). `steps` is the first training step at which the sessions' mean best score, over three
steps, reaches 90 % of the optimum, one more than there were if none did; `q_rank` Spearman's correlation of the
policy's beliefs in the last third of the run with the true values of the states (the bandit asks about one state
only). Medians over seeds, with 95 % percentile intervals of the bootstrap's medians, which are too narrow with so few.

{table}
- On the chain two edits are needed before anything is paid. GiGPO - GRPO, paired by seed (negative: GiGPO is faster):
  {chain} steps; faster in {faster} of {n} seeds, slower in {slower}. The medians are in GiGPO's favour,
  {n} seeds do not settle it: the interval has 0 in it.
- On the bandit GiGPO's two levels say the same: {bandit} steps. This is the control.
- Q ranks the chain's states under either estimator (above 0.7 in every run). Value rows had `q.loss_weight=1`
  and no replay.
"""


def interval(values: Sequence[float]) -> str:
    """The median, and the 95 % interval of the bootstrap's medians (percentiles, seed 0)."""
    draws = np.random.default_rng(0).choice(np.asarray(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return f"{median(values):g} [{low:g}, {high:g}]"


def table(runs: Iterable[Mapping[str, Any]]) -> str:
    """A line for each environment and estimator; n is how many runs there are."""
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
    """Steps of GiGPO minus those of GRPO, of the seeds that both have."""
    steps = {(run["estimator"], run["seed"]): run["steps"] for run in runs if run["environment"] == environment}
    seeds = sorted(seed for estimator, seed in steps if estimator == "gigpo" and ("grpo", seed) in steps)
    return [steps["gigpo", seed] - steps["grpo", seed] for seed in seeds]


def section(runs: Sequence[Mapping[str, Any]]) -> str:
    """All of it."""
    chain, bandit = (differences(runs, each) for each in ("chain", "bandit"))
    return TEXT.format(
        n=len(chain),
        table=table(runs),
        chain=interval(chain),
        bandit=interval(bandit),
        faster=sum(each < 0 for each in chain),
        slower=sum(each > 0 for each in chain),
    )
