# SPDX-License-Identifier: Apache-2.0
"""The chapter of docs/results.md on guidance: tables from the stored data, and sentences with figures of theirs.

The sentences were written for these data. Read them again after a new measurement.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aflow_env.evaluation.results import wilson
from recipe.evidence.guidance import SHORT, WEIGHTS
from recipe.evidence.paired import (
    Arms,
    Row,
    best_after,
    compared,
    differences,
    mean,
    over_runs,
    run_interval,
    sign_flip,
    tied,
)

STOCK, RANDOM, UNTRAINED, TRAINED = "stock", "random edits, w=0", "untrained, w=0", "trained, w=0"
LONG_STOCK, LONG_RANDOM, LONG_TRAINED = "stock, 20 rounds", "random edits, w=0, 20 rounds", "trained, w=0, 20 rounds"
TWICE = tuple(f"halves{n}, w=0" for n in ("", *range(2, 10)))
ONCE = (TRAINED, *(f"{name}, w=0" for name in ("second", "third", "fourth", "fifth", "sixth")))
REPLAYED = ("replay, w=0", "replay2, w=0", "replay3, w=0", "replay4, w=0")
TRAININGS = {
    "`make train`, two optimiser updates a step": TWICE,
    "one update a step (`actor_rollout_ref.actor.ppo_mini_batch_size=4`), as all below but one of `similarity`": ONCE,
    "`q.rule=log q.replay=8 q.loss_weight=0.1`": REPLAYED,
    "`algorithm.adv_estimator=grpo`": ("grpo, w=0",),
    "`q.rule=log`": ("log, w=0",),
    "`q.kind=prior`": ("prior, w=0",),
    "`algorithm.gigpo.anchor=similarity`": ("similar, w=0", "similar2, w=0"),
}
"""How policies were trained, all else equal, and the arms that search with them."""
USD_PER_MILLION = 1.5
"""The simulated executor's price of output, charged for each token of the policy where costs are compared."""
TRAINING_USD = 0.6456
"""The bill of one `make train`, by the closing table in README.md; not in the data."""
GOOD = 0.25
"""The gain of a training run that found the good edits."""
BUDGET = 300
"""Executor calls at which searches of 20 rounds are compared."""
FEWEST = 7
"""Searches of an arm that are worth an interval."""

TEXT = """
## Who proposes, and a Q of workflows. The embedded task, SIMULATED executor

**A trained policy proposes far better edits than chance.** In these data Q answered how good the best child of a
*workflow* will be, so it steered which workflow is expanded and nothing else. That gained nothing: even with a perfect
oracle in its place the gain at 8 rounds is 0. Every policy was trained at `rl_weight=0.5`.

A search of {rounds} rounds sees {validate} generated problems; the score is that of the chosen workflow on {test} test
problems that it never saw. `stock` is AFlow's selection without UCB bonus over uniformly random edits; it is not AFlow
itself, where an LLM proposes. All other arms have `selection.c_ucb=0.1`. `untrained` is the tiny policy after its
warm start, `trained` the same policy after one `make train` on other problems of the same landscape. Searches are
paired by seed. Intervals of scores are 95 % percentile bootstraps over seeds, those of differences Student's t,
p-values those of two-sided sign-flip permutation tests. Nothing is corrected for the number of comparisons.

- **The gain is in the proposals.** Of {n} runs of `make train`, {good} gain {bar:.2f} or more over `stock`
  ({share}, Wilson). These gain {successes}; the least gains {least:+.3f}. All: {over}.
- **Who proposes, all else equal**: `{trained_name}` against `{random_name}`: {training}.
- **Steering by Q**: the data hold {comparisons} comparisons of an arm with a weight with the same arm at w=0.
  p is below 0.05 in {few}.
  {ties:.0%} of their pairs are ties, {ranking} use a Q that ranks or remembers, and {weak} of these have random edits.
  So they show neither a small gain nor that there is none.
- **Cost**: following Q costs fewer calls at equal rounds, because its repeats are not run. After {budget} calls of
  20 rounds, w=1 against w=0: {equal}, best on validate.
- **The training is not in these costs**: it took {usd:.2f} simulated USD, as much as {searches:.0f} searches of
  `stock`. The best of 24 such searches by validate reaches about 0.67 on test (not in the data).

### rl_weight, who trained the policy, who proposes

Means on test of searches of {rounds} rounds, and the difference of w=1 to w=0. Edits of `random` rows are uniform at
every w; GiGPO and GRPO are one training run each.

| policy | proposes | {weights} | n | w=1 against w=0 |
|---|---|{rule}---|---|
{grid}

### Other training runs

Searches of {rounds} rounds against `stock`. A policy is one draw of its training, and gains have two peaks, so the
share of runs that gain {bar:.2f} or more comes first.

| training | runs | {bar:.2f} or more | gain of these | gain of all |
|---|---|---|---|---|
{trainings}

### Tried, gave nothing

Those whose key is not in conf/aflow/default.yaml are deleted. Differences on test are to the same arm without it.

{nothing}
"""
NOTHING = """
- `q.rule=quadratic`, the default of most rows above: concordance {quadratic} (chance: 0.5).
- `q.kind=prior` (how likely the policy finds a node's own edit): one training run, {prior} against `stock`.
- `q.memory=8` (best children of earlier steps count as data), w=1, 20 rounds: {memory}.
- `q.count_rejected`, w=1, 20 rounds: {counted}.
- `rl_weight_schedule=skill`: in {unmoved} of {earned} searches the tree is that of w=0 to the last node.
- `algorithm.gigpo.anchor=similarity`: two training runs, {similar} against `stock`.
- `duplicates=tree`, 20 rounds, 50 problems: best on validate 0.582 against 0.614 (n=10, not in the data).
- `rl_weight_schedule=linear`, `q.calibrate`, `widening` and `tree=group`: never seen to help; no search here has them.
- A Q that ranks (`replay`), {rounds} rounds, w=0.5: {half}; w=1: {full}. With random edits and rejections counted, 20
  rounds, w=0.5: {weak}.
- Rejected proposals drawn again (`redraws=8`), w=0, 20 rounds: {again}, at {again_calls:,.0f} executor calls
  instead of {calls:,.0f}.
- No UCB bonus (`selection.c_ucb=0`), 20 rounds: {no_ucb}.
- No experience in the prompt (`experience_entries=0`), 20 rounds: {no_experience}.
- Proposals at temperature 1.3, 20 rounds: {warm}; 1.6: {hot}.
"""


def guidance(arms: Arms, beliefs: Mapping[str, Any]) -> str:
    """The whole chapter."""
    first = next(iter(arms[STOCK].values()))
    found, pairs = gains(arms), steering(arms)
    few = [(name, to) for name, to in pairs if sign_flip(differences(arms, name, to)) < 0.05]
    ranking = [name for name, _ in pairs if re.search(r"replay|remembering", name)]
    return TEXT.format(
        rounds=SHORT,
        validate=first["n_validate"],
        test=first["n_test"],
        n=len(found),
        good=sum(gain >= GOOD for gain in found),
        bar=GOOD,
        share=_share(found),
        successes=_mean_gain([gain for gain in found if gain >= GOOD]),
        least=min(found),
        over=over_runs(found),
        trained_name=TRAINED,
        random_name=RANDOM,
        training=compared(arms, TRAINED, RANDOM),
        comparisons=len(pairs),
        few=f"{len(few)}: " + "; ".join(f"`{name}`, {compared(arms, name, to)}" for name, to in few),
        ties=tied([gap for name, to in pairs for gap in differences(arms, name, to)]),
        ranking=len(ranking),
        weak=sum(name.startswith("random") for name in ranking),
        budget=BUDGET,
        equal=compared(arms, "trained, w=1, 20 rounds", LONG_TRAINED, lambda row: best_after(row, BUDGET)),
        usd=TRAINING_USD,
        searches=TRAINING_USD / mean(arms, STOCK, cost),
        weights=" | ".join(f"w={w}" for w in WEIGHTS),
        rule="---|" * len(WEIGHTS),
        grid="\n".join(_grid(arms)),
        trainings="\n".join(_trainings(arms)),
        nothing=_nothing(arms, beliefs),
    )


def gains(arms: Arms, names: Sequence[str] = TWICE) -> list[float]:
    """The mean gain over stock of each of these training runs with enough searches; of `make train` by default."""
    named = [name for name in names if len(arms.get(name, ())) >= FEWEST]
    return [float(np.mean(differences(arms, name, STOCK))) for name in named]


def steering(arms: Arms) -> list[tuple[str, str]]:
    """The arms with a weight above 0, each with the arm that differs from it in w and in what is said of Q alone."""
    pairs = []
    for arm in arms:
        parts = arm.split(", ")
        if not any(re.match(r"w=(?!0$)", part) for part in parts):
            continue
        kept = ("w=0" if part.startswith("w=") else part for part in parts if not re.search(r"\bQ\b", part))
        to = ", ".join(kept)
        if to in arms:
            pairs.append((arm, to))
    return pairs


def cost(row: Row) -> float:
    """USD of a search: its executor's, and the policy's tokens."""
    return float(row["executor_usd"] + row["policy_tokens"] * USD_PER_MILLION / 1e6)


def _share(found: Sequence[float]) -> str:
    """The 95 % interval of the share of runs that gain enough."""
    centre, half = wilson(sum(gain >= GOOD for gain in found) / len(found), len(found))
    return f"{centre - half:.2f} to {centre + half:.2f}"


def _mean_gain(found: Sequence[float]) -> str:
    if len(found) < 2:
        return f"{found[0]:+.3f}" if found else "-"
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*run_interval(found))


def _grid(arms: Arms) -> list[str]:
    """Every rl_weight under every policy, its own proposals and random ones."""
    rows = []
    for policy, said in (("trained", "GiGPO"), ("grpo", "GRPO"), ("untrained", "no training")):
        own = [f"{policy}, w={w}" for w in WEIGHTS]
        uniform = [RANDOM, *(f"random edits, {policy} Q, w={w}" for w in WEIGHTS[1:])]
        for proposes, names in (("policy", own), ("random", uniform)):
            scores = [f"{mean(arms, name, lambda row: row['test']):.3f}" for name in names]
            n = min(len(arms[name]) for name in names)
            cells = (said, proposes, *scores, str(n), compared(arms, names[-1], names[0]))
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def _trainings(arms: Arms) -> list[str]:
    rows = []
    for setting, names in TRAININGS.items():
        found = gains(arms, names)
        good = [gain for gain in found if gain >= GOOD]
        cells = (setting, str(len(found)), f"{len(good)}: {_share(found)}", _mean_gain(good), _mean_gain(found))
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _nothing(arms: Arms, beliefs: Mapping[str, Any]) -> str:
    def long(name: str, to: str = LONG_TRAINED) -> str:
        return compared(arms, f"{name}, 20 rounds", to)

    earned = arms["trained, remembering Q, w=1 by skill, 20 rounds"]
    quadratic = (beliefs[run]["predictors"]["Q_theta"]["concordance"] for run in ("second", "third", "grpo"))
    return NOTHING.strip("\n").format(
        rounds=SHORT,
        quadratic=", ".join(f"{each:.2f}" for each in quadratic),
        prior=compared(arms, "prior, w=0", STOCK),
        memory=long("trained, remembering Q, w=1"),
        counted=long("trained, Q that counts rejections, w=1"),
        unmoved=sum(row["path"] == arms[LONG_TRAINED][seed]["path"] for seed, row in earned.items()),
        earned=len(earned),
        similar=over_runs(gains(arms, TRAININGS["`algorithm.gigpo.anchor=similarity`"])),
        half=compared(arms, "replay, w=0.5", "replay, w=0"),
        full=compared(arms, "replay, w=1", "replay, w=0"),
        weak=long("random edits, replay Q that counts rejections, w=0.5", LONG_RANDOM),
        again=long("trained, w=0, drawn again"),
        again_calls=mean(arms, "trained, w=0, drawn again, 20 rounds", lambda row: row["executor_calls"]),
        calls=mean(arms, LONG_TRAINED, lambda row: row["executor_calls"]),
        no_ucb=long("trained, w=0, no UCB bonus"),
        no_experience=long("trained, w=0, no experience"),
        warm=long("trained, w=0, temperature 1.3"),
        hot=long("trained, w=0, temperature 1.6"),
    )
