# SPDX-License-Identifier: Apache-2.0
"""The section of docs/results.md on value replay: does Q come to rank, and does a Q that ranks help?"""

from collections.abc import Mapping
from typing import Any

from recipe.evidence.guidance import LONG, SHORT, long_arms, short_arms
from recipe.evidence.guided_results import BUDGET, FEWEST, REPLAYED, STOCK, gains, steering, table
from recipe.evidence.paired import Arms, best_after, best_at, compared, mean, over_runs

OWN = "replay, w=0, 20 rounds"
RANDOM, RANDOM_STEERED = (
    "random edits, w=0, 20 rounds",
    "random edits, replay Q that counts rejections, w=0.5, 20 rounds",
)
TEXT = """
### Replay: a Q that ranks

`aflow.q.rule=log aflow.q.replay=8 aflow.q.loss_weight=0.1` takes value rows out of the edits' update and gives them
eight optimiser steps of their own a training step, of 32 rows each, drawn from the latest 16 steps
(`aflow_env/training/trainer/replay.py`). `replay` to `replay4` are four training runs of one command, `log` one
without replay, all else equal; on two cores the eight take 13 of a training step's 23 s. Beliefs in the later half of
the run:

| training run | skill | rank correlation | concordance | spread |
|---|---|---|---|---|
{beliefs}

{learnt}
Searches of {rounds} rounds, differences to `stock`:

{short}
Searches of {long_rounds} rounds, differences to this policy's own proposals at w=0:

{long}
Random edits, steered by this Q or not, {long_rounds} rounds:

{random}
{said}
"""
LEARNT = """
So the tiny policy *can* tell the workflows of a session apart, in the first run nearly as well as a table of their
earlier children and better than their own scores do: what was missing is optimiser steps. **It does not always**: Q
ranks well in the first and the third run, a little in the second, and not at all in the fourth, whose proposals did not
learn either. Searches below are guided by the first, the best of the four. Three other settings, tried once each and
not in the data, say what else matters. With `loss_weight` 1 or 0.3, and four steps of 64 rows, Q came to rank
(concordance 0.77 and 0.71) but the mean return stayed near 0.3: value gradients that are several times as long as the
edits' fill the optimiser's moments. With 0.1 and four steps the return rose and Q had not begun to rank at step 12.
"""
SAID = """
- The edits learnt no worse beside it: this policy's own proposals against those of the run without, {rounds} rounds,
  both at w=0: {proposals}. That compares two policies; over the training runs with replay the gain
  on `stock` is {over}.
- A Q that ranks does not raise the score either: w=0.5 against w=0, {rounds} rounds: {short};
  {long_rounds} rounds: {long}; with rejections counted: {counted}.
  Following it alone ends lower, w=1 against w=0, {rounds} rounds: {full}; uncorrected, and
  one of {comparisons} such comparisons (above).
- It gets there with fewer executor calls ({calls:,.0f} instead of {all_calls:,.0f} at {long_rounds} rounds), because
  more of its expansions are duplicates, which are not run. At equal calls it is not ahead: best on validate after
  {budget} calls, w=0.5 against w=0: {equal}.
- Why: after three rounds most of what there is to gain is gained ({early:.2f} on validate, of {late:.2f} after
  {long_rounds}, at w=0). The policy finds the good edit at the first node that offers it, whichever that is, and
  selection has little left to decide. Hotter proposals (temperature 1.6, w=0) may raise the score of this
  policy, {hot}; that of the policy without replay they did not:
  {hot_before}.
- Where proposals are weak this Q knows too little: it was taught what *this policy's* proposals find, on workflows that
  this policy visits. Random edits steered by it: {random}, against random edits at w=0.
"""


def section(arms: Arms, beliefs: Mapping[str, Any]) -> str:
    """Beliefs, searches, and what they say."""
    planned = [arm for arm in (*short_arms(), *long_arms()) if "replay" in arm.name and arm.name != RANDOM_STEERED]
    names = {rounds: [arm.name for arm in planned if arm.rounds == rounds] for rounds in (SHORT, LONG)}
    found = {rounds: [name for name in those if len(arms.get(name, ())) >= FEWEST] for rounds, those in names.items()}
    return TEXT.format(
        beliefs="\n".join(_judged(name, each) for name, each in beliefs.items() if name.startswith(("log", "replay"))),
        learnt=LEARNT.strip("\n") + "\n",
        rounds=SHORT,
        long_rounds=LONG,
        short=table(arms, [*found[SHORT], STOCK], STOCK),
        long=table(arms, found[LONG], OWN),
        random=table(arms, [RANDOM_STEERED, RANDOM], RANDOM),
        said=_said(arms),
    )


def _said(arms: Arms) -> str:
    half = "replay, w=0.5, 20 rounds"
    return SAID.strip("\n").format(
        rounds=SHORT,
        long_rounds=LONG,
        proposals=compared(arms, "replay, w=0", "trained, w=0"),
        over=over_runs(gains(arms, REPLAYED)),
        short=compared(arms, "replay, w=0.5", "replay, w=0"),
        full=compared(arms, "replay, w=1", "replay, w=0"),
        comparisons=len(steering(arms)),
        long=compared(arms, half, OWN),
        counted=compared(arms, "replay, Q that counts rejections, w=0.5, 20 rounds", OWN),
        calls=mean(arms, half, lambda row: row["executor_calls"]),
        all_calls=mean(arms, OWN, lambda row: row["executor_calls"]),
        budget=BUDGET,
        equal=compared(arms, half, OWN, lambda row: best_after(row, BUDGET)),
        early=mean(arms, OWN, lambda row: best_at(row, 4)),
        late=mean(arms, OWN, lambda row: row["best_validate"]),
        hot=compared(arms, "replay, w=0, temperature 1.6, 20 rounds", OWN),
        hot_before=compared(arms, "trained, w=0, temperature 1.6, 20 rounds", "trained, w=0, 20 rounds"),
        random=compared(arms, RANDOM_STEERED, RANDOM),
    )


def _judged(run: str, found: Mapping[str, Any]) -> str:
    said = found["predictors"]["Q_theta"]
    figures = (f"{said[key]:+.2f}" for key in ("skill", "rank_correlation"))
    return f"| {run} | {' | '.join(figures)} | {said['concordance']:.2f} | {said['spread']:.3f} |"
