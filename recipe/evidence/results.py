# SPDX-License-Identifier: Apache-2.0
"""docs/results.md from the stored data, byte for byte: `python -m recipe.evidence.results > docs/results.md`."""

import json
from pathlib import Path
from typing import Any

from recipe.evidence import edit_results, gpu_results, learning_results, q_results, real_results
from recipe.evidence.guided_results import STOCK, gains, guidance
from recipe.evidence.paired import Arms, by_arm, mean, over_runs

DATA = Path(__file__).with_name("results")
HEAD = """\
# Results

Made from `recipe/evidence/results/` by `python -m recipe.evidence.results > docs/results.md`. A few figures are not in
these data and were read elsewhere, and are marked so. Keys that a row names may be gone (see "Tried, gave nothing").

| embedded task, SIMULATED executor | test score | against stock |
|---|---|---|
{rows}

With a real executor (Qwen2.5-Coder-0.5B) no search has beaten the plain prompt of GSM8K yet (last chapter).
"""


def summary(searches: Arms, both: edit_results.Arms) -> list[str]:
    """The rows of the first table: predicted edits at 600 calls, trained proposals at 8 rounds."""
    runs = gains(searches)
    trained = mean(searches, STOCK, lambda row: row["test"]) + sum(runs) / len(runs)
    return [
        *edit_results.summary(both),
        f"| a trained policy proposes, {len(runs)} runs of `make train`, 8 rounds | {trained:.3f} | "
        f"{over_runs(runs)} |",
    ]


def read(name: str) -> Any:
    """The data of a results file: one JSON object, or one a line."""
    lines = DATA / f"{name}.jsonl"
    if lines.is_file():
        return [json.loads(line) for line in lines.read_text().splitlines()]
    return json.loads((DATA / f"{name}.json").read_text())


def page() -> str:
    """All of docs/results.md."""
    searches, beliefs, steps = by_arm(read("guidance")), read("beliefs"), read("gpu")
    parts = ("edits", "edits_confirm", "edits_library", "edits_traps")
    first, confirm, library, traps = (by_arm(read(name)) for name in parts)
    qwen = [step for step in steps if step["run"] == "qwen"]
    return "".join(
        (
            HEAD.format(rows="\n".join(summary(searches, edit_results.together(confirm, library)))),
            edit_results.section(first, confirm, library, traps),
            q_results.section(read("q_training"), read("replay")),
            guidance(searches, beliefs),
            learning_results.section(read("learning")),
            gpu_results.section(steps),
            real_results.section(read("real"), read("real_baselines"), qwen),
        )
    )


if __name__ == "__main__":
    print(page(), end="")
