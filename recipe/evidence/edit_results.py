# SPDX-License-Identifier: Apache-2.0
"""The chapter of docs/results.md on Q of actions: gains of predicting edits before they are run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipe.evidence.edits.__main__ import among_siblings, interval

Row = Mapping[str, Any]
Arms = Mapping[str, Mapping[int, Row]]
WEIGHTS = ("0", "0.25", "0.5", "0.75", "1")

TEXT = """
## Does it pay to predict edits before they are run? SIMULATED executor

**Yes, and the score rises with `rl_weight`.** A search keeps {edits} open edits of each of its best {nodes} workflows,
predicts the score of each by a ridge on its steps, and runs one. The ridge learned from 447 stored evaluations of 24
earlier searches, whose own calls are not counted here. The endpoint is the test score (60 unseen problems) of the
workflow that is best by validate score (24 problems) after 600 executor calls. Searches are paired by seed. Gains are
mean differences to stock AFlow selection with random edits, with 95 % t intervals, n=60 seeds a cell but where a row
says another n, not corrected for their number.

| choice among open pairs | {weights} |
|---|{rule}
{table}

- `per call` divides a pair's probability by the executor calls of its workflow. It gains at w=0 without any
  prediction, and it is the rule of the library. Its seeds are its own, registered before their first run.
- **Further seeds**, registered too: rule and log are the same, and ten searches that were run again agree to the last
  digit. The gain is half of that before; stock ends at {after} there and at {before} before. Both together are the
  better estimate: Q alone, w=1 against w=0, {both_alone}.
- **No log**: a search draws one edit of AFlow's node until it has 40 evaluations, which 600 calls do not reach:
  {shy} ({fresh}).
- **Traps** (`executor.landscape=conf/aflow/landscape_traps.yaml`): edits look useless until a second one follows, and a
  Q of the child's own score sees no further. Stock ends at {traps_stock}, w=1 at {traps_full}; restarts gain
  {traps_restarts}. 60 seeds were planned, and time allowed {traps_seeds}.
- **Q alone**, per call, against w=0 with the same choice: w=0.75 {alone}; w=1 {alone_full}.
- Ranking the edits of the node that stock AFlow selects: best of 8 {rank8}; best of 32 {rank32}. Eight edits
  without a prediction: {control}. Restarting the stock search within the same calls: {restarts}.
- The ridge's rank correlation among siblings is {siblings}.
- With no log the search's own evaluations are too few: {nolog} (n={few}).
- **The plain alternative**: the 24 stock searches behind the log, best by validate, reach about 0.67 on test (not in
  the data). So the log pays when it exists anyway (earlier runs, a training's store), or serves several searches.
"""


def section(first: Arms, confirm: Arms, library: Arms, traps: Arms) -> str:
    """The whole chapter, from the parts of the experiment."""
    siblings = [row["siblings"] for arm in ("stock", "control") for row in first[arm].values()]
    both = together(confirm, library)
    rows = (
        ("all pairs", first, "joint all w={}"),
        ("best 4 pairs, one of round 1", first, "joint best w={}"),
        ("all pairs, per call", confirm, "per call w={}"),
        (f"the same on further seeds, {seeds(library)}", library, "w={}"),
        (f"both together, {seeds(both)}", both, "w={}"),
        (f"landscape with traps, {seeds(traps)}", traps, "w={}"),
    )
    table = [f"| {name} | {' | '.join(gain(arms, arm.format(w)) for w in WEIGHTS)} |" for name, arms, arm in rows]
    return TEXT.format(
        edits=8,
        nodes=16,
        weights=" | ".join(f"w={w}" for w in WEIGHTS),
        rule="---|" * len(WEIGHTS),
        table="\n".join(table),
        before=f"{mean(confirm, 'stock'):.3f}",
        after=f"{mean(library, 'stock'):.3f}",
        shy=gain(library, "w=1, no log"),
        fresh=seeds(library),
        both_alone=gain(both, "w=1", "w=0"),
        traps_seeds=len(traps["stock"]),
        traps_restarts=gain(traps, "restarts"),
        traps_stock=f"{mean(traps, 'stock'):.3f}",
        traps_full=f"{mean(traps, 'w=1'):.3f}",
        alone=gain(confirm, "per call w=0.75", "per call w=0"),
        alone_full=gain(confirm, "per call w=1", "per call w=0"),
        rank8=gain(first, "rank 8"),
        rank32=gain(first, "rank 32"),
        control=gain(first, "control"),
        restarts=gain(first, "restarts"),
        siblings=among_siblings(siblings),
        nolog=gain(first, "best w=0.75, no log"),
        few=len(first["best w=0.75, no log"]),
    )


def together(confirm: Arms, library: Arms) -> Arms:
    """The library's rule on all its seeds: the confirmation's and the further ones."""
    arms = {"stock": "stock", **{f"per call w={w}": f"w={w}" for w in WEIGHTS}}
    return {later: {**confirm[before], **library[later]} for before, later in arms.items()}


def seeds(arms: Arms) -> str:
    """How many searches an arm of a part has."""
    return f"n={len(next(iter(arms.values()), {}))}"


def mean(arms: Arms, arm: str) -> float:
    """The mean test score of an arm at 600 calls."""
    return float(np.mean([row["calls600"] for row in arms[arm].values()]))


def gain(arms: Arms, arm: str, to: str = "stock", endpoint: str = "calls600") -> str:
    """The mean paired difference of two arms with half of its 95 % t interval."""
    pairs = [row[endpoint] - arms[to][seed][endpoint] for seed, row in arms[arm].items() if seed in arms[to]]
    return "{:+.3f}±{:.3f}".format(*interval(pairs))


def summary(both: Arms) -> Sequence[str]:
    """Lines of the page's summary table: who proposes, how edits are chosen, test score at 600 calls."""
    arms = {
        "stock": "random edits, stock AFlow selection, 600 calls",
        "w=0": "random edits, chosen among open pairs without a prediction (w=0), 600 calls",
        "w=1": "random edits, chosen among open pairs by the surrogate (w=1), 600 calls",
    }
    rows = []
    for arm, said in arms.items():
        rows.append(f"| {said} | {mean(both, arm):.3f} | {'' if arm == 'stock' else gain(both, arm)} |")
    return rows
