# SPDX-License-Identifier: Apache-2.0
"""docs/results.md from page.md and the stored data: `python -m recipe.evidence.results > docs/results.md`."""

import json
from pathlib import Path
from typing import Any

from recipe.evidence import real_figures, simulated_figures, table_figures
from recipe.evidence.outcomes import outcomes
from recipe.evidence.paired import by_arm

FOLDER = Path(__file__).parent


def read(name: str) -> Any:
    """Return the rows of a results file."""
    return [json.loads(line) for line in (FOLDER / "results" / f"{name}.jsonl").read_text().splitlines()]


def page() -> str:
    """Return docs/results.md: page.md with its figures filled in."""
    parts = ("edits", "edits_confirm", "edits_library", "edits_traps")
    return (FOLDER / "page.md").read_text().format(
        **simulated_figures.edits(*(by_arm(read(name)) for name in parts)),
        **simulated_figures.players(by_arm(read("edits_policies"))),
        **simulated_figures.proposals(by_arm(read("guidance"))),
        **simulated_figures.state_values(json.loads((FOLDER / "results" / "state_values.json").read_text())),
        **simulated_figures.q(read("q_training")),
        **simulated_figures.learning(read("learning")),
        **real_figures.training(read("gpu")),
        **real_figures.searches(read("real"), read("real_baselines")),
        **table_figures.table(outcomes("mbpp")),
        **table_figures.table(outcomes("humaneval", "humaneval")),
        **table_figures.table(outcomes("gsm8k", "gsm8k")),
        **table_figures.searches("mbpp", read("table_mbpp")),
        **table_figures.searches("humaneval", read("table_humaneval")),
        **table_figures.searches("gsm8k", read("table_gsm8k")),
        **table_figures.policies(read("table_policies_mbpp")),
        **table_figures.transfer(read("table_policies_humaneval")),
        **table_figures.where_nothing_is_found(read("table_policies_gsm8k")),
        **table_figures.proposers(read("proposers_mbpp")),
        **table_figures.live(outcomes(str(FOLDER / "results" / "live_mbpp.jsonl"))),
    )  # fmt: skip


if __name__ == "__main__":
    print(page(), end="")
