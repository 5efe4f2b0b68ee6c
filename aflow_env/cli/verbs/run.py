# SPDX-License-Identifier: Apache-2.0
"""`aflow-env run RUN_OR_DIR --input in.jsonl --output out.jsonl`: a workflow on a file of problems.

Each answer is one whole line that is on disk before the next is asked for in its place, so the same command goes on
after a kill. Completions and the account of the budget are in `OUTPUT.run/`: a problem that was under way is not paid
for twice.
"""

import asyncio
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from aflow_env.cli.compose import values
from aflow_env.cli.interrupt import finishing
from aflow_env.cli.options import AsJson, Overrides
from aflow_env.cli.output import print_json
from aflow_env.cli.verbs.evaluate import named
from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError, InfrastructureError
from aflow_env.llm.client import LLMError
from aflow_env.search.answering import Answering, WorkflowAnswer, answering
from aflow_env.store.settings import hold
from aflow_env.tasks.base import Problem
from aflow_env.tasks.own import unanswered
from aflow_env.tasks.records import read_records
from aflow_env.workflow.program import Workflow

LOST_IN_A_ROW = 20
"""After so many problems that were lost to the world, one after the other, the rest would be lost too."""
NOTE = "Ctrl-C: finishing the problems under way; Ctrl-C again ends at once"
LINE_SECONDS = 5.0
"""Between two lines of progress where there is no terminal."""


@dataclass(frozen=True)
class Asked:
    """A problem of the input, with the key that names it there and in the output."""

    key: tuple[str, Any]
    problem: Problem


@dataclass
class Tally:
    """How far the run of a file is; `error` is why it ended early."""

    total: int
    skipped: int
    outcomes: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    row: int = 0
    cost_usd: float = 0.0
    error: Exception | None = None

    @property
    def answered(self) -> int:
        """Problems that were answered this time, failures of the workflow among them."""
        return sum(self.outcomes.values())

    @property
    def left(self) -> int:
        """Problems that have no answer yet."""
        return self.total - self.skipped - self.answered


def run(
    target: Annotated[Path, typer.Argument(help="A run (its best workflow is used), or a workflow folder.")],
    source: Annotated[Path, typer.Option("--input", help="JSON lines, each with `problem` or the task's fields.")],
    output: Annotated[Path, typer.Option(help="JSON lines to append answers to; what is there is not asked again.")],
    overrides: Overrides = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Problems at a time.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Answer each problem of a file. Status 3 where some were lost to the world: the same command asks them again."""
    config, workflow = named(target, list(overrides or ()))
    changed: dict[str, Any] = {"sandbox": config.sandbox.model_copy(update={"workers": concurrency})}
    if "run_dir" not in values(overrides or ()):
        changed["run_dir"] = f"{output}.run"
    config = config.model_copy(update=changed)
    problems = list(_read(source, config))
    began = time.monotonic()
    with _appending(output) as file:
        done = _done(output, workflow)
        todo = [asked for asked in problems if not _answered(asked, done, output)]
        tally = Tally(len(problems), len(problems) - len(todo))
        try:
            interrupted = asyncio.run(_run(config, workflow, todo, file, tally, concurrency)) if todo else False
        except (KeyboardInterrupt, asyncio.CancelledError):
            interrupted = True
    if as_json:
        print_json(_summary(tally, output))
    else:
        print(_sentence(tally, output, time.monotonic() - began, config.executor.kind == "simulated"))
    if interrupted:
        raise typer.Exit(130)
    if tally.error:
        raise tally.error


def _read(source: Path, config: AflowConfig) -> Iterator[Asked]:
    """The problems of the input. Raises ConfigError for an id that is there twice."""
    seen: dict[str, int] = {}
    for record in read_records(source):
        key: tuple[str, Any] = ("id", record.value("id")) if "id" in record.fields else ("line", record.line)
        if seen.setdefault(json.dumps(key), record.line) != record.line:
            raise ConfigError(f"{source} line {record.line}: the id {key[1]!r} is there twice; ids must be unique.")
        yield Asked(key, unanswered(config.task, record))


@contextmanager
def _appending(output: Path) -> Iterator[BinaryIO]:
    """The output, for this process alone, without the piece of a line that a kill may have left at its end."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        file = output.open("ab", buffering=0)
    except OSError as error:
        raise ConfigError(f"--output={output} cannot be written ({error.strerror}); name another file") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--output={output}: another process writes it; wait for it, or name another") from None
        whole = output.read_bytes().rfind(b"\n") + 1
        file.truncate(whole)
        yield file


def _done(output: Path, workflow: Workflow) -> dict[str, str]:
    """Key -> problem digest of each answer in the output. Raises ConfigError for answers of another workflow."""
    done = {}
    for record in read_records(output):
        fields = record.fields
        if fields.get("workflow") != workflow.digest or "problem" not in fields:
            raise ConfigError(f"{record.place}: this is no answer of workflow {workflow.digest}; name another --output")
        key = ("id", fields["id"]) if "id" in fields else ("line", fields.get("line"))
        done[json.dumps(key)] = str(fields["problem"])
    return done


def _answered(asked: Asked, done: Mapping[str, str], output: Path) -> bool:
    """Whether the output has the answer. Raises ConfigError where its key names another problem there."""
    found = done.get(json.dumps(asked.key))
    if found not in (None, asked.problem.digest):
        raise ConfigError(
            f"--output={output} answers another problem of {asked.key[0]} {asked.key[1]}: the input has changed since; "
            "give each problem an `id` of its own, or name another --output"
        )
    return found is not None


async def _run(
    config: AflowConfig, workflow: Workflow, todo: list[Asked], file: BinaryIO, tally: Tally, places: int
) -> bool:
    """Answer the problems, some side by side; whether Ctrl-C cut it short."""
    async with answering(config, workflow) as answer:
        hold(answer.assembly.store, config)
        queue = iter(todo)
        with _FileProgress(tally) as progress, finishing(lambda _: progress.note(NOTE)) as interrupt:

            async def work() -> None:
                for asked in queue:
                    await _one(answer, asked, file, tally)
                    progress.tell()
                    if tally.error or interrupt.is_set():
                        break

            await asyncio.gather(*(work() for _ in range(min(places, len(todo)))))
            if tally.lost and not tally.error:
                tally.error = InfrastructureError(f"{tally.lost} problems were lost to failures of the world")
            return interrupt.is_set()


async def _one(answer: Answering, asked: Asked, file: BinaryIO, tally: Tally) -> None:
    """Answer one problem and write its line, or count it as lost."""
    try:
        found = await answer(asked.problem)
    except BudgetExhausted as limit:
        tally.error = limit
        return
    except InfrastructureError as error:
        tally.lost, tally.row = tally.lost + 1, tally.row + 1
        if tally.row == LOST_IN_A_ROW or (isinstance(error, LLMError) and error.fatal):
            tally.error = error
        return
    tally.row, tally.cost_usd = 0, tally.cost_usd + found.cost_usd
    tally.outcomes[found.outcome] = tally.outcomes.get(found.outcome, 0) + 1
    line = json.dumps(_line(asked, answer.workflow.digest, found), ensure_ascii=False) + "\n"
    file.write(line.encode("utf-8", "backslashreplace"))
    os.fsync(file.fileno())


def _line(asked: Asked, digest: str, found: WorkflowAnswer) -> dict[str, Any]:
    return {
        asked.key[0]: asked.key[1],
        "outcome": found.outcome,
        "answer": found.text if found.outcome == "ok" else None,
        "error": found.error or None,
        "cost_usd": found.cost_usd,
        "tokens": {"input": found.input_tokens, "output": found.output_tokens},
        "calls": found.calls,
        "seconds": round(found.seconds, 3),
        "problem": asked.problem.digest,
        "workflow": digest,
    }


def _summary(tally: Tally, output: Path) -> dict[str, Any]:
    figures = {"answered": tally.answered, "outcomes": tally.outcomes, "skipped": tally.skipped, "lost": tally.lost}
    return {**figures, "left": tally.left, "cost_usd": tally.cost_usd, "output": str(output)}


def _sentence(tally: Tally, output: Path, seconds: float, simulated: bool) -> str:
    failed = ", ".join(f"{name} {count}" for name, count in sorted(tally.outcomes.items()) if name != "ok")
    answered = f"{tally.answered} answered{f' ({failed})' if failed else ''}"
    cost = f"{tally.cost_usd:.4f} USD{' (SIMULATED)' if simulated else ''}"
    return f"{output}: {answered}, {tally.skipped} were there, {tally.left} left, {cost}, {seconds:.1f} s"


class _FileProgress:
    """A bar on a terminal, a line now and then anywhere else; both on stderr."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._console, self._said = tally, Console(stderr=True), time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task: TaskID = self._bar.add_task("answering", total=tally.total, completed=tally.skipped)

    def __enter__(self) -> "_FileProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self) -> None:
        """One problem has ended."""
        tally = self._tally
        done = tally.skipped + tally.answered
        self._bar.update(self._task, completed=done, description=f"{tally.cost_usd:.4f} USD")
        if not self._console.is_terminal and time.monotonic() - self._said >= LINE_SECONDS:
            self._said = time.monotonic()
            self.note(f"{done}/{tally.total} answered, {tally.lost} lost, {tally.cost_usd:.4f} USD")

    def note(self, text: str) -> None:
        """Say something above the bar."""
        if self._console.is_terminal:
            self._bar.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)
