# SPDX-License-Identifier: Apache-2.0
"""`aflow-env run RUN_OR_DIR --input in.jsonl --output out.jsonl`: a workflow on a file of problems.

Each answer is one line, on disk before the next problem begins, so the same command resumes after a kill. `OUTPUT.run/`
has completions and the account of the budget: no answer is paid for twice.
"""

import asyncio
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import Progress

from aflow_env.cli.arguments import Overrides
from aflow_env.cli.compose import values
from aflow_env.cli.progress import finishing
from aflow_env.cli.use.answering import Answering, answering, usd
from aflow_env.cli.verbs.evaluate import named
from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError, InfrastructureError
from aflow_env.files import writing
from aflow_env.llm.client import LLMError
from aflow_env.screen import Screen, plural, say
from aflow_env.store.settings import lock
from aflow_env.tasks.own import unanswered
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.records import Record, read_records
from aflow_env.workflow.program import Workflow

LOST_IN_A_ROW = 20
"""After so many problems lost to the world, one after the other, the run ends."""
LINE_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


@dataclass
class Tally:
    """The progress of a file's run. `row` counts problems lost since the last answer. `error` ended the run early."""

    total: int
    skipped: int
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    row: int = 0
    cost_usd: float | None = 0.0
    error: Exception | None = None
    interrupted: bool = False

    def __str__(self) -> str:
        failed = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()) if name != "ok")
        done = self.outcomes.total()
        answered = f"{done} answered{f' ({failed})' if failed else ''}, {self.skipped} were there"
        return f"{answered}, {self.total - self.skipped - done} left, {usd(self.cost_usd)}"


def run(
    target: Annotated[Path, typer.Argument(help="A run (its best workflow is used), or a workflow folder.")],
    source: Annotated[Path, typer.Option("--input", help="JSON lines, each with `problem` or the task's fields.")],
    output: Annotated[Path, typer.Option(help="JSON lines to append answers to; what is there is not asked again.")],
    overrides: Overrides = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems at a time.")] = 8,
) -> None:
    """Answer each problem of a file. Status 3 where some were lost to the world: the same command asks them again."""
    given = [*(overrides or ()), f"sandbox.workers={concurrency}"]
    config, workflow = named(target, given)
    if "run_dir" not in values(given):
        config = config.model_copy(update={"run_dir": f"{output}.run"})
    problems = _problems(source, config)
    with _appending(output, workflow) as (file, done):
        for key in done.keys() & problems.keys():
            if done[key] != problems[key].digest:
                raise ConfigError(
                    f"--output={output} answers another problem of {key}: the input has changed since; give each "
                    "problem an `id` of its own, or name another --output"
                )
        todo = {key: problem for key, problem in problems.items() if key not in done}
        tally = Tally(len(problems), len(problems) - len(todo))
        try:
            if todo:
                asyncio.run(_run(config, workflow, todo, file, tally))
        except (KeyboardInterrupt, asyncio.CancelledError):
            tally.interrupted = True
    say(f"{output}: {tally}{' (SIMULATED)' if config.executor.kind == 'simulated' else ''}")
    if tally.interrupted:
        raise typer.Exit(130)
    if tally.error:
        raise tally.error


def _key(record: Record) -> str:
    """Return the JSON that names a problem in input and output: its id, else its line."""
    named_by = "id" if "id" in record.fields else "line"
    return json.dumps({named_by: record.fields.get(named_by, record.line)})


def _problems(source: Path, config: AflowConfig) -> dict[str, Problem]:
    """Return the problems of the input by key. Raises ConfigError for an id that is there twice."""
    found: dict[str, Problem] = {}
    for record in read_records(source):
        if (key := _key(record)) in found:
            raise ConfigError(f"{record.place}: {key} is there twice; ids must be unique.")
        found[key] = unanswered(config.task, record)
    return found


@contextmanager
def _appending(output: Path, workflow: Workflow) -> Iterator[tuple[BinaryIO, dict[str, str]]]:
    """Lock the output for this process, and yield it with the problem digest of each key that it answers.

    Cut half a line that a kill left at the end. Raises ConfigError for a file with anything but answers of `workflow`.
    """
    with writing(output, "--output"):
        output.parent.mkdir(parents=True, exist_ok=True)
        file = output.open("ab", buffering=0)
    with file:
        if not output.is_file():
            raise ConfigError(f"--output={output} is no regular file, and could not be resumed: name another")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--output={output}: another process writes it; wait for it, or name another") from None
        *lines, rest = output.read_bytes().split(b"\n")
        half = rest.startswith((b'{"id": ', b'{"line": ')) and not _fields(rest)
        whole = enumerate(lines if half else [*lines, rest], start=1)
        records = [Record(str(output), number, _fields(line)) for number, line in whole if line.strip()]
        for record in records:
            if record.fields.get("workflow") != workflow.digest:
                raise ConfigError(
                    f"{record.place}: this is no answer of workflow {workflow.digest}; name another --output"
                )
        if half:
            file.truncate(output.stat().st_size - len(rest))
        elif rest:
            file.write(b"\n")
        yield file, {_key(record): record.text("problem") for record in records}


def _fields(line: bytes) -> dict[str, object]:
    """Return the JSON object of a line, {} for anything else."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


async def _run(config: AflowConfig, workflow: Workflow, todo: dict[str, Problem], file: BinaryIO, tally: Tally) -> None:
    """Answer the problems, some side by side. Shows a bar on a terminal, else a line now and then."""
    console, queue, said = Screen(stderr=True), iter(todo.items()), time.monotonic()

    async def work() -> None:
        nonlocal said
        for key, problem in queue:
            await _one(answer, key, problem, file, tally)
            bar.update(task, completed=tally.skipped + tally.outcomes.total())
            if not console.is_terminal and time.monotonic() - said >= LINE_SECONDS:
                said = time.monotonic()
                say(str(tally), error=True)
            if tally.error or interrupt.is_set():
                break

    async with answering(config, workflow) as answer:
        lock(answer.assembly.store, config)
        with (
            Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
            finishing("problems", partial(say, error=True)) as interrupt,
        ):
            task = bar.add_task("", total=tally.total)
            await asyncio.gather(*(work() for _ in range(min(config.sandbox.workers, len(todo)))))
            tally.interrupted = interrupt.is_set()
    if tally.lost and not tally.error:
        tally.error = InfrastructureError(f"{plural(tally.lost, 'problem')} lost to failures of the world")


async def _one(answer: Answering, key: str, problem: Problem, file: BinaryIO, tally: Tally) -> None:
    """Answer one problem and write its line. A problem lost to the world is counted, and the next run asks it again."""
    try:
        found = await answer(problem)
    except BudgetExhausted as limit:
        tally.error = limit
        return
    except InfrastructureError as error:
        tally.lost, tally.row = tally.lost + 1, tally.row + 1
        if tally.row == LOST_IN_A_ROW or (isinstance(error, LLMError) and error.fatal):
            tally.error = error
        return
    tally.row = 0
    tally.cost_usd = None if tally.cost_usd is None or found.cost_usd is None else tally.cost_usd + found.cost_usd
    tally.outcomes[found.outcome] += 1
    line = {
        **json.loads(key),
        "outcome": found.outcome,
        "answer": found.text if found.outcome == "ok" else None,
        "error": found.error or None,
        "cost_usd": found.cost_usd,
        "tokens": {"input": found.input_tokens, "output": found.output_tokens},
        "calls": found.calls,
        "seconds": round(found.seconds, 3),
        "problem": problem.digest,
        "workflow": answer.workflow.digest,
    }
    with writing(Path(file.name), "--output"):
        rest = f"{json.dumps(line)}\n".encode()
        while rest:  # a full disk takes a part, and then says why
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
