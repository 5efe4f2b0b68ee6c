# SPDX-License-Identifier: Apache-2.0
"""Make a table: real outcomes of many workflows on the problems of a benchmark, for `executor=table`.

    vllm serve MODEL --served-model-name NAME ...
    python -m recipe.table.make mbpp FOLDER_OF_DATA --model NAME --run RUN --out conf/aflow/tables/mbpp.jsonl

The workflows are the plain start, all of one edit from it, and seeded samples of two and three edits. A block of
problems is finished by all workflows before the next block begins, so that any end of the script leaves a whole
rectangle. Every result and completion is in RUN: the same command resumes, and workflows share the answers to equal
prompts. `--pack` sends nothing and writes the table of the finished problems.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import assigned, load
from aflow_env.config import AflowConfig
from aflow_env.evaluation.results import COUNTED, ProblemResult
from aflow_env.files import write_text
from aflow_env.search.assemble import Assembly
from aflow_env.tasks.baselines import start_steps
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.table import OUTCOMES, Header, TableRow, dumped
from aflow_env.workflow.edits import apply_edit, every_edit, uniform_edit
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.steps import Step, to_workflow

Steps = tuple[Step, ...]
LETTERS = {name: letter for letter, name in OUTCOMES.items()}


def workflows(spec: TaskSpec, phrases: Sequence[str], samples: Sequence[int], seed: int) -> dict[str, Steps]:
    """Return digest -> steps: the start, all of one edit, and `samples` drawn ones of 2, 3, ... edits."""
    start = start_steps(spec)
    found = {to_workflow(start, spec).digest: start}
    for edit in every_edit(start, spec, phrases):
        steps = apply_edit(start, edit, spec)
        found.setdefault(to_workflow(steps, spec).digest, steps)
    random = Random(seed)
    for edits, count in enumerate(samples, start=2):
        wanted = len(found) + count
        while len(found) < wanted:
            steps = start
            for _ in range(edits):
                steps = apply_edit(steps, uniform_edit(steps, spec, phrases, random), spec)
            found.setdefault(to_workflow(steps, spec).digest, steps)
    return found


async def fill(
    assembly: Assembly, found: Sequence[Workflow], problems: Sequence[Problem], block: int, side_by_side: int
) -> None:
    """Run every workflow on a block of problems, then on the next; what is stored is not run again.

    The next block begins while the slowest workflows of one are still on their way, so that the server stays busy.
    """
    places = asyncio.Semaphore(side_by_side)  # fair: who asks first is first
    started = time.monotonic()

    async def run(workflow: Workflow, some: Sequence[Problem]) -> int:
        async with places:
            results = await assembly.evaluator.run(workflow, [(problem, 0) for problem in some])
        return sum(result.outcome not in COUNTED for result in results)

    async def finish(begin: int) -> None:
        some = problems[begin : begin + block]
        lost = sum(await asyncio.gather(*(run(workflow, some) for workflow in found)))
        spent = assembly.budget.totals.spent
        said = f"{begin + len(some)} of {len(problems)} problems, {time.monotonic() - started:.0f} s, {lost} runs lost"
        print(f"{said}, {spent.calls:,} calls, {spent.tokens:,} tokens", file=sys.stderr, flush=True)

    await asyncio.gather(*map(finish, range(0, len(problems), block)))


def packed(
    assembly: Assembly, found: dict[str, Steps], problems: Sequence[Problem], note: str
) -> tuple[Header, list[TableRow]]:
    """Return the table of the problems that every workflow has a counted result of."""
    key, config = assembly.evaluator.executor_key(), assembly.config
    kept: dict[str, dict[str, ProblemResult]] = {}
    for digest in found:
        known = assembly.store.get_many(digest, key, [(problem.digest, 0) for problem in problems])
        kept[digest] = {name: result for (name, _), result in known.items() if result.outcome in COUNTED}
    whole = [problem for problem in problems if all(problem.digest in results for results in kept.values())]
    executor = config.executor
    made = {
        "model": executor.model,
        "temperature": executor.temperature,
        "sample_temperature": executor.sample_temperature,
        "max_tokens": executor.max_tokens,
        "seed": config.seed,
        "instructions": config.task.instructions,
        "digests": [problem.digest for problem in whole],
        "aflow_env": version("aflow-env"),
        "note": note,
    }
    rows = []
    for digest, steps in found.items():
        results = [kept[digest][problem.digest] for problem in whole]
        rows.append(
            TableRow(
                steps=tuple((step.operator, step.instruction, step.samples) for step in steps),
                outcomes="".join(LETTERS[str(result.outcome)] for result in results),
                tokens=tuple((result.input_tokens, result.output_tokens) for result in results),
                calls=tuple(result.calls for result in results),
            )
        )
    return Header(format=1, task=assembly.task.spec.name, problems=tuple(each.id for each in whole), made=made), rows


async def make(
    config: AflowConfig, samples: Sequence[int], count: int, block: int, out: Path, note: str, pack: bool = False
) -> None:
    """Fill the table unless `pack`, then write it. `note` goes into the header."""
    assembly = await Assembly.open(config)
    try:
        spec = assembly.task.spec
        found = workflows(spec, config.task.instructions, samples, config.seed)
        problems = [*assembly.pool("validate"), *assembly.pool("test")][:count]
        print(f"{len(found)} workflows, {len(problems)} problems", file=sys.stderr, flush=True)
        if not pack:
            await fill(
                assembly,
                [to_workflow(steps, spec) for steps in found.values()],
                problems,
                block,
                config.sandbox.workers,
            )
        header, rows = packed(assembly, found, problems, note)
        write_text(out, dumped(header, rows))
        print(f"{out}: {len(rows)} workflows on {len(header.problems)} problems", file=sys.stderr)
    finally:
        await assembly.aclose()


def asked(task: str, data: Path, base_url: str, model: str, workers: int) -> tuple[str, ...]:
    """Return the overrides that say what is asked of which model, alike for a table and for a search beside it."""
    return (
        *(f"task={task}", assigned("task.path", data), "executor=vllm", "executor.max_tokens=256"),
        "executor.send_seed=false",  # vLLM samples seeded requests one by one, at half the speed
        *(assigned("executor.base_url", base_url), assigned("executor.model", model)),
        *("executor.accept_empty=true", "executor.timeout_seconds=3000", "executor.concurrency=96"),
        *(f"sandbox.workers={workers}", "sandbox.wall_seconds=3600"),
    )


def main(
    task: str,
    data: Annotated[Path, typer.Argument(help="Folder with validate.jsonl and test.jsonl.")],
    model: Annotated[str, typer.Option(help="The name that the server gives the model.")],
    run: Annotated[Path, typer.Option(help="Folder of the run that keeps every result.")],
    out: Annotated[Path, typer.Option(help="The table.")],
    base_url: str = "http://127.0.0.1:8000/v1",
    problems: Annotated[int, typer.Option(help="How many: validate problems first, then test problems.")] = 160,
    samples: Annotated[str, typer.Option(help="How many workflows of two, three ... edits.")] = "30,20",
    block: Annotated[int, typer.Option(help="Problems that all workflows finish before the next.")] = 2,
    side_by_side: Annotated[int, typer.Option(help="Workflows at a time.")] = 64,
    note: Annotated[str, typer.Option(help="What else made it: the model's digest, the server and its flags.")] = "",
    cache: Annotated[Path | None, typer.Option(help="Completions that runs share, those of live.py too.")] = None,
    seed: int = 0,
    pack: bool = False,
) -> None:
    """Make the table of a task, or with --pack write what there is of it."""
    sizes = (f"task.validate_size={problems}", f"task.test_size={problems}")
    given = (*asked(task, data, base_url, model, side_by_side), *sizes, f"seed={seed}", assigned("run_dir", run))
    given += (assigned("cache", cache),) if cache else ()
    config = load(given, UNGUIDED)
    asyncio.run(make(config, [int(each) for each in samples.split(",")], problems, block, out, note, pack))


if __name__ == "__main__":
    typer.run(main)
