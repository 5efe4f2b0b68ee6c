# SPDX-License-Identifier: Apache-2.0
"""Read how good Q is at the end of `make train` runs, from their train.log. SIMULATED executor.

    python -m recipe.evidence.q_training REPLAY RUN ... >> recipe/evidence/results/q_training.jsonl

REPLAY names the draw of value rows: `rows`, evenly over rows of 16 steps; `pairs`, evenly over distinct edits of all.
One line a run folder: the last figures on the edits of its validation sessions, and its workflow's test score.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

_FIGURE = re.compile(r"aflow/q_held_out/(\w+):(-?[\d.]+(?:e-?\d+)?)")
_SCORE = re.compile(r"best, test\s+│ ([\d.]+)")
NAMES = ("within", "n", "surrogate_within", "skill", "skill_over_surrogate")


def last_figures(log: str) -> dict[str, Any]:
    """Return the last figures of Q in a log, and the chosen workflow's test score."""
    line = next(each for each in reversed(log.splitlines()) if "aflow/q_held_out/within:" in each)
    found = dict(_FIGURE.findall(line))
    figures = {name: round(float(found[name]), 4) for name in NAMES if name in found}
    return {**figures, "test": float(_SCORE.findall(log)[-1])}


def main() -> None:
    """Print a line a run."""
    replay, *runs = sys.argv[1:]
    for run in map(Path, runs):
        text = (run / "train.log").read_text(encoding="utf-8", errors="replace")
        print(json.dumps({"replay": replay, "run": run.name, **last_figures(text)}))


if __name__ == "__main__":
    main()
