# SPDX-License-Identifier: Apache-2.0
"""AFlow's own way on a table of real outcomes: an LLM proposes the edits. Here Qwen2.5-Coder-0.5B, untrained.

    vllm serve MODEL --served-model-name NAME ...
    python -m recipe.evidence.proposers mbpp --model NAME --base-url http://127.0.0.1:8077/v1

Registered before the first run. The outcomes of workflows are the table's, and the proposer is a real model.

Question. Does an untrained 0.5B propose edits of MBPP's workflows that are as good as even draws from the grammar?
Searches are `aflow-env sweep` on the table: 30 validate and 30 test problems, the same in all searches. Arms, paired by
seed:

- `random`: even draws; a round is one edit of the node that AFlow selects (w=0, lookahead of one), 20 rounds.
- `LLM`: the same, and the model proposes freely (policy.structured=off).
- `LLM, held`: the same, and the server holds its reply to the edits that fit the workflow (policy.structured=auto).
- `random, 16 nodes`: even draws, 8 open edits of each of the best 16 nodes, w=0, 10 rounds.
- `LLM, held, its Q`: as before, but the model proposes (structured=auto) and its Q decides (w=1).

No proposal is drawn again (redraws=0), so each is in the store with its fate: `new` (open, or run), `repeated` (a
program that is there already, or no change), `outside` (a valid edit without outcomes in the table, mostly for its own
words as instruction), `invalid`. Replies have at most 192 tokens, at temperature 1.

Endpoints: the share of proposals that are new, and that are valid (all but `invalid`); of the workflow that is best by
validate after 10 rounds its validate and test score, and the executor calls of these rounds; policy tokens of the
search. n: 8 seeds (0 to 7), which about 20 minutes of this machine allow at 70 tokens a second, before any was run; of
the last arm 4 seeds, fixed when the machine gave 30 tokens a second and before that arm began. Begun anew after 50
proposals of `LLM`: prompts had failed cases with ids in place of problems, which the model took for samples.
Yes for an arm: the test score after 10 rounds is above that of the random arm with its lookahead, and the t interval of
the paired difference excludes 0. No: it includes 0, or is below. Seeds share the problems, so this interval covers no
other problems, and one model says nothing of larger ones. `Trained by GiGPO on a table` has no arm: two cores do not
train a 0.5B (docs/hardware.md).
"""

from collections import Counter
from contextlib import closing
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from aflow_env.cli.arguments import ONE_BY_ONE
from aflow_env.store.database import ReadOnlyStore, Reads
from recipe.evidence.guidance import Arm, folder_name, run_sweep
from recipe.evidence.outcomes import Outcomes, outcomes
from recipe.evidence.table_policies import halves
from recipe.evidence.tables import RESULTS

SEEDS, FEW, COMPARED, ROUNDS, LONGEST = 8, 4, 10, 20, 192
OPEN = ("redraws=0", "final_calls=0")
HELD = ("proposer=policy", "policy.structured=auto")
ARMS = (
    Arm("random", None, ("proposer=random", "q.kind=none", *ONE_BY_ONE), ROUNDS),
    Arm("LLM", "llm", ("proposer=policy", "q.kind=none", "policy.structured=off", *ONE_BY_ONE), ROUNDS),
    Arm("LLM, held", "llm", (*HELD, "q.kind=none", *ONE_BY_ONE), ROUNDS),
    Arm("random, 16 nodes", None, ("proposer=random", "q.kind=none", "rl_weight=0", *OPEN), COMPARED),
    Arm("LLM, held, its Q", "llm", (*HELD, "q.kind=policy", "rl_weight=1", *OPEN), COMPARED),
)
REPEATED = ("another proposal or node", "the same change was tried", "the change leaves", "the edit changes nothing")


def fate(digest: str | None, reason: str | None) -> str:
    """Return what became of a proposal."""
    if digest:
        return "new"
    said = reason or ""
    if said.startswith("outside the table"):
        return "outside"
    return "repeated" if said.startswith(REPEATED) else "invalid"


def fates(store: Reads) -> Counter[str]:
    """Count the proposals of a search by what became of them."""
    rows = store.read("SELECT digest, reason FROM proposals") or store.read(
        "SELECT digest, reason FROM nodes WHERE parent IS NOT NULL"
    )
    return Counter(fate(*row) for row in rows)


def measured(arm: Arm, run: Path, table: Outcomes) -> dict[str, Any]:
    """Return one row of data: the endpoints of a finished search."""
    with closing(ReadOnlyStore(run / "run.sqlite")) as store:
        nodes = store.read(
            "SELECT digest, score, calls FROM nodes WHERE score IS NOT NULL AND round <= ? ORDER BY round",
            (COMPARED + 1,),
        )
        tokens = store.read("SELECT coalesce(sum(input_tokens + output_tokens), 0) FROM completions")[0][0]
        best = max(nodes, key=lambda node: node[1])
        return {
            "arm": arm.name,
            "seed": int(run.name.rsplit("=", 1)[-1]),
            "proposals": dict(fates(store)),
            "validate": round(best[1], 4),
            "test": round(float(table.correct_WP[table.places[best[0]], halves(table)[1]].mean()), 4),
            "calls": sum(node[2] for node in nodes),
            "policy_tokens": tokens,
        }


def main(
    name: str,
    model: Annotated[str, typer.Option(help="The name that the server gives the model.")],
    base_url: str = "http://127.0.0.1:8000/v1",
    jobs: Annotated[int, typer.Option(help="Searches at a time.")] = SEEDS,
    runs: Annotated[Path, typer.Option(help="Run folders; finished searches are skipped.")] = Path("runs/proposers"),
) -> None:
    """Search on the table of a task with all arms; the rows go to recipe/evidence/results."""
    table, file = outcomes(name, name), RESULTS / f"proposers_{name}.jsonl"
    served = (f"policy.base_url={base_url}", f"policy.model={model}", f"policy.max_tokens={LONGEST}")
    rows = []
    for arm in ARMS:
        grid = (f"table={name}", f"rounds={arm.rounds}", *arm.overrides, *(served if arm.policy else ()))
        run_sweep(arm, (*grid, f"seed=range(0,{FEW if arm is ARMS[-1] else SEEDS})"), runs, jobs)
        found = sorted((runs / folder_name(arm.name)).glob("*/run.sqlite"))
        rows += [measured(arm, each.parent, table) for each in found]
        file.write_text("".join(dumps(row, separators=(",", ":")) + "\n" for row in rows))


if __name__ == "__main__":
    typer.run(main)
