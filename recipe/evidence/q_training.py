# SPDX-License-Identifier: Apache-2.0
"""Read how good Q is at the end of `make train` runs, from their console logs. SIMULATED executor.

    python -m recipe.evidence.q_training REPLAY LOG ... >> recipe/evidence/results/q_training.jsonl

REPLAY names the draw of value rows: `rows`, evenly over rows of 16 steps; `pairs`, evenly over distinct edits of all.
One line a run: the last figures on the edits of its validation sessions, and what the run took.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

_FIGURE = re.compile(r"aflow/q_held_out/(\w+):(-?[\d.]+(?:e-?\d+)?)")
_SCORE = re.compile(r"best, test\s+│ ([\d.]+)")
_REAL = re.compile(r"^real\s+(\d+)m([\d.]+)s", re.MULTILINE)
NAMES = ("within", "n", "surrogate_within", "skill", "skill_over_surrogate")


def last_figures(log: str) -> dict[str, Any]:
    """Return the last figures of Q in a log, the chosen workflow's test score, and the minutes."""
    line = next(each for each in reversed(log.splitlines()) if "aflow/q_held_out/within:" in each)
    found = dict(_FIGURE.findall(line))
    minutes = _REAL.search(log)
    return {
        **{name: round(float(found[name]), 4) for name in NAMES if name in found},
        "test": float(_SCORE.findall(log)[-1]),
        "minutes": round(int(minutes[1]) + float(minutes[2]) / 60, 1) if minutes else None,
    }


def main() -> None:
    """Print a line a log."""
    replay, *logs = sys.argv[1:]
    for name in logs:
        text = Path(name).read_text(encoding="utf-8", errors="replace")
        print(json.dumps({"replay": replay, "run": Path(name).stem, **last_figures(text)}))


if __name__ == "__main__":
    main()
