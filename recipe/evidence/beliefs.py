# SPDX-License-Identifier: Apache-2.0
"""Why does Q not rank? What could have foretold the best child of a node, in training runs that are over.

    python -m recipe.evidence.beliefs NAME=RUN NAME=RUN ... > recipe/evidence/results/beliefs.json

`replay` there is a run with aflow.q.rule=log aflow.q.replay=8 aflow.q.loss_weight=0.1, `log` one with q.rule=log alone.

RUN is the search folder of a training run (SIMULATED executor, `make train`). Every expansion of a node whose best
child is known is one case; the later half of the steps is judged. Predictors know nothing but what came before:

    Q_theta      the policy's belief, as it was stated
    own score    the node's own score
    memory       Q with `q.memory=8`: n0 = 4 times Q_theta and the latest 8 best children of the same workflow in
                 earlier steps; own children are left out, so that it is not told what it is to foretell
    same node    the mean target of the *other* cases of the same workflow: no prediction, but how much of the spread
                 of the targets a table that knew everything could explain

`pairs` are cases of one session with different workflows and different targets: what a selection has to decide between.
`concordance` is the share of them that a predictor puts into the right order (1/2: chance), ties counting as half;
`spread` is the standard deviation within a session, a mean over sessions.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from aflow_env.search.belief import shrink, skill, spearman

Floats = NDArray[np.float64]
STRENGTH, REMEMBERED = 4.0, 8


def cases(run: Path) -> list[dict[str, Any]]:
    """Every belief with its target, in order; `session` numbers the sessions."""
    with sqlite3.connect(f"{run.resolve().as_uri()}/run.sqlite?mode=ro", uri=True) as store:
        rows = store.execute("SELECT data FROM events WHERE kind = 'beliefs' ORDER BY id").fetchall()
    events = [json.loads(row[0]) for row in rows]
    return [{**held, "step": event["step"], "session": n} for n, event in enumerate(events) for held in event["held"]]


def remembered(found: Sequence[dict[str, Any]]) -> Floats:
    """Q with memory of each case."""
    known: dict[str, list[float]] = defaultdict(list)
    waiting: dict[tuple[str, int], float] = {}
    step, said = 0, []
    for case in found:
        if case["step"] != step:
            for (digest, _), target in waiting.items():
                known[digest].append(target)
            step, waiting = case["step"], {}
        said.append(shrink(case["belief"], known[case["digest"]][-REMEMBERED:], STRENGTH))
        waiting[case["digest"], case["session"]] = case["target"]
    return np.array(said)


def others_mean(digests: Sequence[str], target: Floats) -> Floats:
    """The mean target of the other cases of the same workflow; NaN where there are none."""
    of: dict[str, list[int]] = defaultdict(list)
    for place, digest in enumerate(digests):
        of[digest].append(place)
    total = {digest: target[places].sum() for digest, places in of.items()}
    counts = np.array([len(of[digest]) - 1 for digest in digests], dtype=float)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.array([total[digest] for digest in digests]) - target) / counts)


def judged(said: Floats, target: Floats, session: NDArray[np.int64], digests: Sequence[str]) -> dict[str, float]:
    """How good a predictor was; cases that it says nothing of (NaN) are left out."""
    known = np.flatnonzero(~np.isnan(said))
    right = total = 0.0
    spreads = []
    for number in np.unique(session[known]):
        places = known[session[known] == number]
        spreads.append(float(np.std(said[places])))
        for a, b in combinations(places, 2):
            if digests[a] != digests[b] and target[a] != target[b]:
                agree = np.sign(said[a] - said[b]) * np.sign(target[a] - target[b])
                right, total = right + (agree + 1) / 2, total + 1
    return {
        "n": len(known),
        "skill": skill(said[known], target[known]),
        "rank_correlation": spearman(said[known], target[known]),
        "pairs": int(total),
        "concordance": right / total,
        "spread": float(np.mean(spreads)),
    }


def diagnosis(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The later half of a run."""
    last = max(case["step"] for case in found)
    late = np.array([case["step"] > last // 2 for case in found])
    some = [case for case, chosen in zip(found, late, strict=True) if chosen]
    target, session = np.array([case["target"] for case in some]), np.array([case["session"] for case in some])
    digests = [case["digest"] for case in some]
    predictors = {
        "Q_theta": np.array([case["belief"] for case in some]),
        "own score": np.array([case["score"] for case in some]),
        "memory": remembered(found)[late],
        "same node": others_mean(digests, target),
    }
    return {
        "steps": [last // 2 + 1, last],
        "cases": len(some),
        "workflows": len(set(digests)),
        "target_mean": float(target.mean()),
        "target_spread": judged(target, target, session, digests)["spread"],
        "predictors": {name: judged(said, target, session, digests) for name, said in predictors.items()},
    }


def main(runs: Annotated[list[str], typer.Argument(help="NAME=RUN, the search folder of a training run.")]) -> None:
    """Print the diagnosis of each run as JSON."""
    named = dict(each.split("=", 1) for each in runs)
    print(json.dumps({name: diagnosis(cases(Path(run))) for name, run in named.items()}, indent=1))


if __name__ == "__main__":
    typer.run(main)
