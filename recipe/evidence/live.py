# SPDX-License-Identifier: Apache-2.0
"""Search with a real model from the plain start, and judge the choice on problems that no choice has seen.

    vllm serve MODEL --served-model-name NAME ...
    python -m recipe.evidence.live mbpp FOLDER_OF_DATA --model NAME --base-url http://127.0.0.1:8077/v1

Registered before the first run, after the first look at the table (docs/results.md), which has Select x6 first.

Question 3 of the tables. Does a guided search from the plain start find a workflow that beats the plain prompt and
CoT-SC x5 on 200 test problems? The search is `aflow-env search`: 16 rounds of random edits, rl_weight=1, the library's
lookahead, two rounds at a time, on the first 60 validate problems. Its Q is the ridge on an earlier run, which is 51
rounds on the committed table (30 of these 60 problems, no calls). The choice at the end has at most 2,000 executor
calls with the test. Completions of the table may answer, and are counted as calls all the same.

Arms, on all 200 test problems, greedy first answers and samples at temperature 0.7: IO (the start), CoT, CoT-SC x5,
Select x5, `table`: the best of the table by its 60 problems (ties: fewer tokens), and `search`: the search's choice.
Endpoint: the paired difference of `search` and of `table` to IO and to CoT-SC x5, t interval over problems, beside the
tokens a problem of each. Yes: the interval excludes 0. Goal: +0.15 over IO, and above CoT-SC x5 at no more tokens. One
search, one model, one seed: it says nothing of other seeds or models. No: the interval to IO includes 0.
"""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.arguments import ONE_BY_ONE, UNGUIDED, best_of, store_of
from aflow_env.cli.compose import assigned, load
from aflow_env.files import write_text
from aflow_env.search.assemble import Assembly
from aflow_env.store.store import Store
from aflow_env.tasks.table import dumped
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import to_steps, to_workflow
from recipe.evidence.edits.world import Steps
from recipe.evidence.outcomes import baselines, leading, outcomes
from recipe.table.make import asked, fill, packed

RESULTS = Path(__file__).with_name("results")
PROBLEMS, SEARCHED_ON, WORKERS = 200, 60, 64
EARLIER = (*ONE_BY_ONE[:3], "q.kind=none", "redraws=200", "rounds=51", "final_calls=0")
GUIDED = ("rl_weight=1", "rounds=16", "in_flight=2", f"limit={SEARCHED_ON}", "final_calls=2000")


def search(run: Path, *overrides: str) -> Workflow:
    """Search by the command line, or go on with what there is; return the chosen workflow."""
    command = [sys.executable, "-m", "aflow_env.cli", "search", *overrides, "proposer=random"]
    subprocess.run([*command, assigned("run_dir", run)], check=True)
    with Store(store_of(run)) as store:
        return best_of(store, run)[1]


async def judge(overrides: tuple[str, ...], arms: dict[str, Steps], out: Path, note: str) -> None:
    """Run the arms on the test problems and write their outcomes as a table; `made.arms` has their names."""
    assembly = await Assembly.open(load(overrides, UNGUIDED))
    try:
        spec, problems = assembly.task.spec, assembly.pool("test")
        found = {to_workflow(steps, spec).digest: steps for steps in arms.values()}
        workflows = [to_workflow(steps, spec) for steps in found.values()]
        await fill(assembly, workflows, problems, len(problems), WORKERS)
        header, rows = packed(assembly, found, problems, note)
        names = {name: list(found).index(to_workflow(steps, spec).digest) for name, steps in arms.items()}
        write_text(out, dumped(header.model_copy(update={"made": {**header.made, "arms": names}}), rows))
    finally:
        await assembly.aclose()


def main(
    task: str,
    data: Annotated[Path, typer.Argument(help="Folder with validate.jsonl and test.jsonl.")],
    model: Annotated[str, typer.Option(help="The name that the server gives the model.")],
    base_url: str = "http://127.0.0.1:8000/v1",
    runs: Annotated[Path, typer.Option(help="Run folders, and the cache of completions.")] = Path("runs/live"),
    only: Annotated[str, typer.Option(help="`baselines`: leave the search for later.")] = "",
    note: Annotated[str, typer.Option(help="What else made it: the model's digest, the server and its flags.")] = "",
) -> None:
    """Search, then write the outcomes of all arms on the test problems into recipe/evidence/results."""
    table = outcomes(task, task)
    arms = {**baselines(table), "table": table.steps[leading(table.correct_WP.mean(1), table.tokens_WP.mean(1))]}
    shared = (f"task.validate_size={PROBLEMS}", f"task.test_size={PROBLEMS}", assigned("cache", runs / "cache"))
    live = (*asked(task, data, base_url, model, WORKERS), *shared)
    if only != "baselines":
        search(runs / "earlier", f"task={task}", "executor=table", f"task.table={task}", *EARLIER)
        chosen = search(runs / "guided", *live, *GUIDED, f"q.runs=[{runs / 'earlier'}]")
        arms["search"] = tuple(to_steps(chosen))
    out = RESULTS / f"live_{task}.jsonl"
    asyncio.run(judge((*live, assigned("run_dir", runs / "judged")), arms, out, note))
    print(f"{out}: {', '.join(arms)}")


if __name__ == "__main__":
    typer.run(main)
