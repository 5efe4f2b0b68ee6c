# SPDX-License-Identifier: Apache-2.0
"""The sections of docs/results.md on guidance: tables from the stored data, and what they say, with figures of theirs.

The sentences were written for these data: whoever measures anew reads them again.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipe.evidence.guidance import LONG, LONGER, SHORT, WEIGHTS, long_arms, short_arms
from recipe.evidence.paired import (
    Arms,
    Row,
    best_after,
    compared,
    differences,
    mean,
    over_runs,
    scored,
    sign_flip,
    signed,
)

STOCK, UNTRAINED, TRAINED = "stock", "untrained, w=0", "trained, w=0"
LONG_STOCK, LONGER_STOCK, LONG_TRAINED = "stock, 20 rounds", "stock, 30 rounds", "trained, w=0, 20 rounds"
RANDOM_LONG = "random edits, w=0, 20 rounds"
ONCE = (TRAINED, "second, w=0", "third, w=0", "fourth, w=0", "fifth, w=0", "sixth, w=0")
TWICE = tuple(f"halves{n}, w=0" for n in ("", *range(2, 10)))
"""Policies of `make train` with one update a step, and as it is, with two; of each list counts what is in the data."""
REPLAYED = ("replay, w=0", "replay2, w=0", "replay3, w=0", "replay4, w=0")
TRAININGS = {
    "`make train`, two optimiser updates a step": TWICE,
    "with one update a step (`actor_rollout_ref.actor.ppo_mini_batch_size=4`), as all below but `similar2`": ONCE,
    "with value replay (below)": REPLAYED,
    "with `algorithm.adv_estimator=grpo`": ("grpo, w=0",),
    "with `aflow.q.rule=log`": ("log, w=0",),
    "with `aflow.q.kind=prior`, where Q is how likely the policy finds the edit that made a node": ("prior, w=0",),
    "with `algorithm.gigpo.anchor=similarity`; `similar2` without difflib's shortcut and with two updates": (
        "similar, w=0",
        "similar2, w=0",
    ),
}
"""How policies were trained, all else equal, and the arms that search with them."""
OTHERS = [name for names in TRAININGS.values() for name in names if name != TRAINED]
REMEMBERING = "trained, remembering Q, w=1, 20 rounds"
EARNED = "trained, remembering Q, w=1 by skill, 20 rounds"
COUNTING = "trained, remembering Q that counts rejections, w=1, 20 rounds"
AGAIN = "trained, w={}, drawn again, 20 rounds"
USD_PER_MILLION = 1.5
"""What a token of the policy is charged with where costs are matched: the simulated executor's price of output."""
TRAINING_USD = 0.6456
"""What one `make train` paid, by the closing table that README.md shows; not in the data."""
RETURNS_OF_TWICE = ("0.54", "0.50", "0.58", "0.62", "0.61", "0.37", "0.61", "0.57", "0.58")
"""The mean return of the last five steps, by the logs of these runs in their order; not in the data."""
GOOD = 0.25
"""The gain of a training run that found the good edits."""
BUDGET = 300
"""Executor calls at which searches of 20 rounds are compared."""


def guidance(arms: Arms, beliefs: Mapping[str, Any]) -> str:
    """All of them."""
    parts = (answer(arms, beliefs), short(arms), grid(arms), long(arms), matched(arms), runs(arms), why(beliefs))
    return "".join(parts)


def table(arms: Arms, names: Sequence[str], base: str) -> str:
    """One line an arm, the best first; `gain` is the paired difference to `base`."""
    level = mean(arms, base, lambda row: row["test"])
    lines = [
        "| arm | n | test score | gain | relative | p | rejected | executor calls | USD | policy tokens |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in sorted(names, key=lambda each: (-mean(arms, each, lambda row: row["test"]), each)):
        found = differences(arms, arm, base)
        gain = relative = chance = ""
        if arm != base:
            gain, chance = signed(found), f"{sign_flip(found):.4f}"
            relative = f"{float(np.mean(found)) / level:+.0%}"
        cost = (
            f"{mean(arms, arm, lambda row: row['rejected']):.1f}",
            f"{mean(arms, arm, lambda row: row['executor_calls']):,.0f}",
            f"{mean(arms, arm, lambda row: row['executor_usd']):.4f}",
            f"{mean(arms, arm, lambda row: row['policy_tokens']):,.0f}",
        )
        cells = (arm, str(len(arms[arm])), scored(arms, arm), gain, relative, chance, *cost)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


FEWEST = 7
"""Searches of an arm that are worth an interval."""


def of_length(arms: Arms, *rounds: int) -> list[str]:
    """The measured arms of searches of these lengths, in their order; of the policies only the first two."""
    planned = [arm.name for arm in (*short_arms(), *long_arms()) if arm.rounds in rounds]
    shown = [name for name in planned if name not in OTHERS and not re.search(r"grpo|replay", name)]
    return searched(arms, shown)


ANSWER = """
## Which rl_weight, and why? The embedded task, SIMULATED executor

**Search with rl_weight=0 where the policy is of this size and training, and let it propose.** This is said of searches:
every policy here was trained at the default, 0.5; training at another weight was not measured.

- **The gain is in the proposals.** Searches whose edits a trained policy proposes are compared with `stock`: AFlow's
  selection with uniformly random edits, **not AFlow itself, where an LLM proposes**. Over runs of `make train`, each
  judged by up to 12 searches, the gain on unseen test problems is
  {over} ({relative:+.0%} of stock's {stock:.3f}).
- **Runs differ**: {good} of the {n} gain {bar:.2f} or more, the least {least:+.3f}. With one optimiser update a step
  instead of two the gain was {once}, {bar:.2f} or more
  in {once_good} of {once_n}: fewer, which so few runs do not settle. Most of this chapter was measured with the first
  of these {once_n}, a good one: {training}.
- **Steering the selection by Q adds nothing to the score** that could be told from chance. In short searches, w=0.5
  against w=0: {short}; in long ones, w=1 against w=0: {long}.
  The data hold {comparisons} comparisons of an arm that steers with the same arm at w=0; p is below 0.05, uncorrected,
  in {few}.
- Following Q makes searches of equal rounds cheaper, because their repeats are not run.
- With the default rule Q knows the level of the scores, and hardly which workflow of a session has the better child: in
  the two runs of `make train` that were judged ({judged}) its values within a session spread by
  {spreads}, and put {orders} of the pairs in the right order. The run whose Q steers here was not judged.
  With value replay Q may rank them well, and still the score stays where it is, since the proposals have found what
  there is to find by then.

The executor is simulated: these figures say something about the search and the policy, nothing about any LLM. Intervals
are 95 % percentile bootstraps over seeds, those over training runs Student's t, p-values are those of two-sided
sign-flip permutation tests; nothing is corrected for the number of comparisons. A bootstrap over 10 to 12 searches is a
little too narrow: it leaves out a true 0 about one time in ten, not in twenty. Where interval and p disagree, go by p.
"""


def answer(arms: Arms, beliefs: Mapping[str, Any]) -> str:
    """What a reader in a hurry needs."""
    found, once = gains(arms), gains(arms, ONCE)
    compared_with_none = steering(arms)
    few = [(name, to) for name, to in compared_with_none if sign_flip(differences(arms, name, to)) < 0.05]
    judged = {name: beliefs[name]["predictors"]["Q_theta"] for name in ("second", "third")}
    return ANSWER.format(
        over=over_runs(found),
        n=len(found),
        bar=GOOD,
        good=sum(gain >= GOOD for gain in found),
        stock=mean(arms, STOCK, lambda row: row["test"]),
        relative=float(np.mean(found)) / mean(arms, STOCK, lambda row: row["test"]),
        least=min(found),
        once=over_runs(once),
        once_n=len(once),
        once_good=sum(gain >= GOOD for gain in once),
        training=compared(arms, TRAINED, STOCK),
        short=compared(arms, "trained, w=0.5", TRAINED),
        long=compared(arms, "trained, w=1, 20 rounds", LONG_TRAINED),
        comparisons=len(compared_with_none),
        few=f"{len(few)}: " + "; ".join(f"`{name}`, {compared(arms, name, to)}" for name, to in few) if few else "none",
        spreads=" and ".join(f"{each['spread']:.3f}" for each in judged.values()),
        orders=" and ".join(f"{each['concordance']:.2f}" for each in judged.values()),
        judged=", ".join(f"`{name}`" for name in judged),
    )


def gains(arms: Arms, names: Sequence[str] = TWICE) -> list[float]:
    """The mean gain over stock of each of these training runs; of `make train`, unless others are named."""
    return [float(np.mean(differences(arms, name, STOCK))) for name in searched(arms, names)]


def searched(arms: Arms, names: Sequence[str]) -> list[str]:
    """Those of these arms that are in the data, with enough searches."""
    return [name for name in names if len(arms.get(name, ())) >= FEWEST]


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


SHORT_TEXT = """
### Short searches, {rounds} rounds

Searches on {validate} generated arithmetic problems; the score is that of the chosen workflow on {test} test problems
that the search never saw; {seeds} seeds an arm, paired by seed.

**`stock` is AFlow's own selection (no UCB bonus) over uniformly random edits.** It is not AFlow itself: there an LLM
proposes the changes, and is asked again until one is new; here no model proposes, and a rejected round is lost.

`untrained` is the tiny policy after its warm start, which draws edits uniformly and knows nothing of
which help; `trained` is the same policy after one `make train` (22 GiGPO steps on other problems of the same task and
landscape, so what is measured is whether what it learnt carries over to new searches). `w` is `rl_weight`. Arms with
"random edits" let the policy steer the selection (Q) at most, while edits stay uniform.

{table}
`gain` is the mean paired difference to `stock`, with its interval and p-value; `relative` is gain / mean of `stock`.
`rejected` are rounds whose edit was not run; `executor calls` and `USD` (simulated prices) are what all workflows of a
search cost, `policy tokens` what the policy read and wrote for it.

- This training helped: trained against untrained proposals, both at w=0: {training}.
- Steering adds nothing that can be told from chance: with trained proposals w=0.5 against w=0: {half};
  w=1 against w=0: {full}.
  With random edits and the trained policy's Q, w=0.5 against w=0: {random}.
- The untrained policy against random edits, both at w=0: {untrained}.
  It was taught to draw edits as the random proposer does and has more of them rejected; whether that is all is not
  known.
"""


def short(arms: Arms) -> str:
    """Searches of 8 rounds."""
    names = of_length(arms, SHORT)
    first = next(iter(arms[STOCK].values()))
    return SHORT_TEXT.format(
        rounds=SHORT,
        validate=first["n_validate"],
        test=first["n_test"],
        seeds=min(len(arms[name]) for name in names),
        table=table(arms, names, STOCK),
        training=compared(arms, TRAINED, UNTRAINED),
        half=compared(arms, "trained, w=0.5", TRAINED),
        full=compared(arms, "trained, w=1", TRAINED),
        random=compared(arms, "random edits, trained Q, w=0.5", "random edits, w=0"),
        untrained=compared(arms, UNTRAINED, "random edits, w=0"),
    )


GRID = """
### rl_weight, who trained the policy, who proposes

Means on test of searches of {rounds} rounds, and the paired difference of following Q alone (w=1) to w=0. Edits of
`random` rows are uniform at every w; GiGPO and GRPO (`algorithm.adv_estimator=grpo`) are one training run each, all
else equal.

| policy | proposes | {weights} | n | w=1 against w=0 |
|---|---|{rule}---|---|
{rows}

{said}
"""
GRID_SAID = """
No row has a weight at which steering helps: what changes the score is who proposes.
"""


def grid(arms: Arms) -> str:
    """Every rl_weight under every policy, its own proposals and random ones."""
    rows = []
    for policy, said in (("trained", "GiGPO"), ("grpo", "GRPO"), ("untrained", "no training")):
        for proposes in ("policy", "random"):
            names = [
                f"{policy}, w={w}" if proposes == "policy" else f"random edits, {policy} Q, w={w}" for w in WEIGHTS
            ]
            names[0] = names[0] if proposes == "policy" else "random edits, w=0"
            scores = [f"{mean(arms, name, lambda row: row['test']):.3f}" if name in arms else "-" for name in names]
            n = min(len(arms[name]) for name in names if name in arms)
            last = compared(arms, names[-1], names[0]) if names[-1] in arms else "-"
            rows.append(f"| {said} | {proposes} | {' | '.join(scores)} | {n} | {last} |")
    weights = " | ".join(f"w={w}" for w in WEIGHTS)
    return GRID.format(
        rounds=SHORT, weights=weights, rule="---|" * len(WEIGHTS), rows="\n".join(rows), said=GRID_SAID.strip()
    )


LONG_TEXT = """
### Long searches, {rounds} rounds: what steers

In a tree of nine nodes there is little to select from, so here are trees of up to {nodes}. Differences are to the
trained policy's proposals under plain selection, w=0. `remembering Q` is `q.memory=8` with the training run's store:
the best children that a workflow had there count as data in Q. `counts rejections` is `q.count_rejected=true`,
`by skill` is `rl_weight_schedule=skill`.

{guided}
The same with uniform random edits, compared with `stock`; also `stock` for {longer} rounds:

{random}
{said}
"""

LONG_SAID = """
- Twelve more rounds under w=0: {more} against the short searches (seeds that both have).
  {rejected:.1f} of the {rounds} rounds are rejected: repeated changes, or none.
- Following Q (w=1): {full} against w=0; remembering Q: {memory}.
  Both run fewer workflows ({calls:,.0f} and {memory_calls:,.0f} executor calls instead of {all_calls:,.0f}):
  Q stays high where the good child is found, and every further expansion there is a duplicate, rejected and not run.
  So following Q costs less at equal rounds (w=1: {usd:.4f} against {all_usd:.4f} USD, executor and policy), by
  accident. At equal calls it is not ahead: best on validate after {budget} executor calls, w=1 against w=0:
  {equal}. `q.count_rejected` eases the cause ({eased:.1f} rejections, not {many:.1f}): {counted}.
- A weight that Q earns in the search itself (`skill`) was not tried by its arm: it is 0 until 16 expansions have ended,
  and in {unmoved} of {earned} searches the tree is that of w=0 to the last node. The data hold no training with it.
- What else was taken away or added, each against w=0: no UCB bonus {no_ucb};
  no experience in the prompt {no_experience};
  temperature 1.3 {warm}, 1.6 {hot}.
- Rejected proposals drawn again (`redraws=8`), w=0: {again}, {again_calls:,.0f} executor calls;
  {again_rejected:.1f} rounds are lost instead of {rejected:.1f}. On validate {again_validate}. With a weight on
  top, 0.5 against 0, both drawn again: {again_half}; 1 against 0: {again_full}.
- No way of steering raised the score by an amount that could be told from chance.
"""


def long(arms: Arms) -> str:
    """Searches of 20 rounds: is there anything to select?"""
    names = of_length(arms, LONG, LONGER)
    guided = [name for name in names if name.startswith("trained")]
    said = LONG_SAID.format(
        rounds=LONG,
        more=compared(arms, LONG_TRAINED, TRAINED),
        rejected=mean(arms, LONG_TRAINED, lambda row: row["rejected"]),
        memory=compared(arms, REMEMBERING, LONG_TRAINED),
        memory_calls=mean(arms, REMEMBERING, lambda row: row["executor_calls"]),
        counted=compared(arms, COUNTING, LONG_TRAINED),
        eased=mean(arms, COUNTING, lambda row: row["rejected"]),
        many=mean(arms, REMEMBERING, lambda row: row["rejected"]),
        unmoved=sum(row["path"] == arms[LONG_TRAINED][seed]["path"] for seed, row in arms[EARNED].items()),
        earned=len(arms[EARNED]),
        usd=mean(arms, "trained, w=1, 20 rounds", cost),
        all_usd=mean(arms, LONG_TRAINED, cost),
        budget=BUDGET,
        equal=compared(arms, "trained, w=1, 20 rounds", LONG_TRAINED, lambda row: best_after(row, BUDGET)),
        no_ucb=compared(arms, "trained, w=0, no UCB bonus, 20 rounds", LONG_TRAINED),
        no_experience=compared(arms, "trained, w=0, no experience, 20 rounds", LONG_TRAINED),
        warm=compared(arms, "trained, w=0, temperature 1.3, 20 rounds", LONG_TRAINED),
        hot=compared(arms, "trained, w=0, temperature 1.6, 20 rounds", LONG_TRAINED),
        full=compared(arms, "trained, w=1, 20 rounds", LONG_TRAINED),
        calls=mean(arms, "trained, w=1, 20 rounds", lambda row: row["executor_calls"]),
        all_calls=mean(arms, LONG_TRAINED, lambda row: row["executor_calls"]),
        again=compared(arms, AGAIN.format(0), LONG_TRAINED),
        again_calls=mean(arms, AGAIN.format(0), lambda row: row["executor_calls"]),
        again_rejected=mean(arms, AGAIN.format(0), lambda row: row["rejected"]),
        again_validate=compared(arms, AGAIN.format(0), LONG_TRAINED, lambda row: row["best_validate"]),
        again_half=compared(arms, AGAIN.format(0.5), AGAIN.format(0)),
        again_full=compared(arms, AGAIN.format(1), AGAIN.format(0)),
    )
    return LONG_TEXT.format(
        rounds=LONG,
        nodes=LONG + 1,
        longer=LONGER,
        guided=table(arms, guided, LONG_TRAINED),
        random=table(arms, [name for name in names if name not in guided], LONG_STOCK),
        said=said.strip("\n") + "\n",
    )


MATCHED = """
### At equal cost

Equal rounds are not equal cost. Here `stock` gets the rounds that cost at least as much as the guided arm: the
executor's simulated dollars, and the policy's tokens at the executor's price of output ({price} USD a million), which
is dear for so small a model. All of it is the first training run, and **the training itself is left out**: in the run
that README.md shows it took {training:.2f} simulated USD, as much as {searches:.0f} searches of `stock` with {rounds}
rounds.

| guided | USD | stock | USD | difference on test |
|---|---|---|---|---|
{table}
"""


def cost(row: Row) -> float:
    """USD of a search: its executor's, and the policy's tokens."""
    return float(row["executor_usd"] + row["policy_tokens"] * USD_PER_MILLION / 1e6)


def matched(arms: Arms) -> str:
    """Each trained arm against the shortest stock search that cost at least as much."""
    stocks = [name for name in (STOCK, LONG_STOCK, LONGER_STOCK) if name in arms]
    lines = []
    for name in (TRAINED, "trained, w=0.5", "trained, w=1", LONG_TRAINED, "trained, w=1, 20 rounds"):
        spent = mean(arms, name, cost)
        dear = next((each for each in stocks if mean(arms, each, cost) >= spent), None)
        if dear:
            cells = (name, f"{spent:.4f}", dear, f"{mean(arms, dear, cost):.4f}", compared(arms, name, dear))
            lines.append(f"| {' | '.join(cells)} |")
    searches = TRAINING_USD / mean(arms, STOCK, cost)
    return MATCHED.format(
        price=USD_PER_MILLION, training=TRAINING_USD, searches=searches, rounds=SHORT, table="\n".join(lines)
    )


RUNS = """
### Other training runs

A policy is one draw of its training: rollouts are sampled, so no two runs of one command are alike. All else equal.
Searches of {rounds} rounds; differences to `stock`; over several runs of one command the mean of their means, with
Student's t over runs: the interval to go by.

{trainings}

| policy | n | test score | difference |
|---|---|---|---|
{table}

One run of a setting decides nothing against the spread of its runs. In `fourth` and `fifth` the mean return of the
last five steps was 0.35 and 0.31; in the four with replay it was 0.62, 0.40, 0.51 and 0.16; with two updates a step
{returns}. A learning rate of 1e-3 with one update ended at 0.51 after a fall to -0.10, four
updates a step at 0.56 (one run each). Watch `aflow/episode_return`, and train longer where it does not rise: the way up
leads over edits that only together score well ([simulated.md](simulated.md#the-landscape)). Rows are dealt out to
mini-batches in `halves6` to `halves9` alone; in these and in `similar2` training's prompts hold nothing of validation.
"""


def runs(arms: Arms) -> str:
    """Is it luck? Is it GiGPO?"""
    trainings, lines = [], []
    for setting, planned in TRAININGS.items():
        names = searched(arms, planned)
        lines += [
            f"| {name} | {len(arms[name])} | {scored(arms, name)} | {compared(arms, name, STOCK)} |" for name in names
        ]
        if names:
            labels = ", ".join(f"`{name.removesuffix(', w=0')}`" for name in names)
            over = over_runs(gains(arms, names)) if len(names) > 1 else "one run"
            trainings.append(f"- {labels}: {setting}; {over}")
    return RUNS.format(
        rounds=SHORT, trainings="\n".join(trainings), table="\n".join(lines), returns=", ".join(RETURNS_OF_TWICE)
    )


WHY = """
### Why Q does not help here

What could have foretold the best child of a node? From the stores of finished training runs
(`recipe/evidence/beliefs.py`; the later half of the steps; predictors know only what came before): `Q_theta` is the
policy's belief, its value rows trained by the quadratic rule, in `log` and `replay` to `replay4` by the logarithmic
one; `own score` is the node's; `memory` is Q with `q.memory=8`, own children left out; `same node`, no prediction, is
what a table that knew all other cases of the same workflow would say. `concordance` is the share of pairs of one
session that are put in the right order (1/2: chance), `spread` the standard deviation within a session. `skill` and
`rank correlation` are over the cases of all sessions together, so to know that one session scores higher than another
counts there too.

| training run | predictor | n | skill | rank correlation | concordance | pairs | spread |
|---|---|---|---|---|---|---|---|
{table}

- Within a session the best children's scores spread by {spreads},
  the policy's beliefs by {beliefs}. Without replay Q_theta is one number for all nodes of a tree,
  so it cannot choose; what order there is in its third digit is right in one run and wrong in another. With replay
  it spreads in `replay`, in `replay3` and weakly in `replay2`.
- There is something to know: the same workflow has about the same best child in other sessions. Q_theta does not learn
  it. The warm start taught the policy to answer the question alike for every state, and 22 optimiser steps moved the
  level, no more, by either rule (`log` is a run with `q.rule=log`). `replay` is what further steps do: next section.
- The node's own score, which UCB follows, says nothing of its best child without replay (concordance {plain}),
  something in three runs with it ({replayed}), and the opposite in `replay4` ({last:.2f}).
- A table of earlier best children (`q.memory`) says most of what can be known, where training makes workflows recur.
  In new searches it did not raise the score all the same (above).
"""


def why(beliefs: Mapping[str, Any]) -> str:
    """What could have foretold the best child of a node."""
    lines = []
    for run, found in beliefs.items():
        for name, judged in found["predictors"].items():
            figures = (f"{judged[key]:+.2f}" for key in ("skill", "rank_correlation"))
            more = f"{judged['concordance']:.2f} | {judged['pairs']} | {judged['spread']:.3f}"
            lines.append(f"| {run} | {name} | {judged['n']} | {' | '.join(figures)} | {more} |")
    spreads = ", ".join(f"{found['target_spread']:.2f} ({name})" for name, found in beliefs.items())
    stated = ", ".join(f"{found['predictors']['Q_theta']['spread']:.3f}" for found in beliefs.values())
    own = {name: found["predictors"]["own score"]["concordance"] for name, found in beliefs.items()}
    return WHY.format(
        table="\n".join(lines),
        spreads=spreads,
        beliefs=stated,
        plain=_range([each for name, each in own.items() if not name.startswith("replay")]),
        replayed=_range([own[name] for name in ("replay", "replay2", "replay3")]),
        last=own["replay4"],
    )


def _range(found: Sequence[float]) -> str:
    return f"{min(found):.2f} to {max(found):.2f}"
