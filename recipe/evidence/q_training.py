# SPDX-License-Identifier: Apache-2.0
"""Read how good Q is at the end of `make train` runs, from their train.log. SIMULATED executor.

    python -m recipe.evidence.q_training REPLAY RUN ... >> recipe/evidence/results/q_training.jsonl

REPLAY names the draw of value rows: `rows`, evenly over rows of 16 steps; `pairs`, evenly over distinct edits of all.
Both with 3 optimiser steps of 32 rows a training step, ratios clipped, and 12 problems an evaluation. `small`: 12
steps of 8 rows, no ratio, 24 problems an evaluation. `unclipped`: `rows` with no ratio and 24 problems an evaluation.
One line a run folder: the last figures on the distinct edits of all its validation sessions, many of which the policy
proposed before it was trained; those of the edits that Q chose in the last validation, predicted before they were run
(`chosen`, within the edits of a node); and its workflow's test score.

Registered before their first runs. Question: does the policy's Q rank held-out edits at 0.5 or better, as `rows` did
not (median 0.43 of nine)? Endpoint: the median of Spearman within parents at the end; beside it the ridge's on the same
edits, and the test score. No: a median below 0.5. `small`: nine trainings with aflow.seed=1 to 9; stopped after two,
whose policies broke (most edits invalid for some steps, test 0.483 and 0.383). `unclipped`: six trainings with the
default seed, or nine if there is time, which was decided after three; no, too, if their mean test score is below 0.80
(`rows`: 0.854). `chosen` was read afterwards, from the nine stored runs of `unclipped`.

Registered before it ran, `sweep`: `--multirun aflow.rl_weight=0,0.25,0.5,0.75,1` of the same config, one training an
arm. One training cannot rank the arms. The figure to read is the median of `within` and of `chosen` over the nine and
the four with w > 0, thirteen in all. Yes: both are at least 0.5. With w = 0 Q chooses nothing, so it is left out.
"""

import json
import re
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from aflow_env.search.prediction.q import within_parents
from aflow_env.search.prediction.surrogate import fit, observation, tokens
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.experience import evaluated
from aflow_env.workflow.program import Workflow

_FIGURE = re.compile(r"aflow/q_held_out/(\w+):(-?[\d.]+(?:e-?\d+)?)")
_SCORE = re.compile(r"best, test\s+│ ([\d.]+)")
NAMES = ("within", "n", "surrogate_within", "skill", "skill_over_surrogate")
TASK, AFTER = "arithmetic", 2**62
_CHOSEN = (
    "SELECT session || parent, json_extract(payload, '$.q') AS q, score, graph, prompts FROM nodes "
    "JOIN programs ON programs.id = nodes.program WHERE session LIKE 'validate/%' AND score IS NOT NULL AND q NOTNULL "
    "AND step = (SELECT max(step) FROM nodes WHERE session LIKE 'validate/%') ORDER BY session, round"
)


def last_figures(log: str) -> dict[str, Any]:
    """Return the last figures of Q in a log, and the chosen workflow's test score."""
    line = next(each for each in reversed(log.splitlines()) if "aflow/q_held_out/within:" in each)
    found = dict(_FIGURE.findall(line))
    figures = {name: round(float(found[name]), 4) for name in NAMES if name in found}
    return {**figures, "test": float(_SCORE.findall(log)[-1])}


def last_validation(file: Path) -> dict[str, float]:
    """Return Spearman within nodes, of Q and of a ridge on all training sessions, in the last validation of a store."""
    with closing(ReadOnlyStore(file)) as store:
        nodes, q, scores, *workflows = zip(*store.read(_CHOSEN), strict=True)
        surrogate = fit(list(map(observation, evaluated(store, TASK, AFTER))))
    assert surrogate is not None
    ridge = surrogate.values([tokens(Workflow(*each)) for each in zip(*workflows, strict=True)])
    figures = {"chosen": within_parents(q, scores, nodes), "chosen_surrogate": within_parents(ridge, scores, nodes)}
    return {"chosen_n": len(q)} | {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    """Print a line a run."""
    replay, *runs = sys.argv[1:]
    for run in map(Path, runs):
        text = (run / "train.log").read_text(encoding="utf-8", errors="replace")
        chosen = last_validation(run / "search" / "run.sqlite")
        print(json.dumps({"replay": replay, "run": run.name, **last_figures(text), **chosen}))


if __name__ == "__main__":
    main()
