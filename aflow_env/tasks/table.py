# SPDX-License-Identifier: Apache-2.0
"""A task from a table: the recorded outcomes of many workflows on some problems of a benchmark.

A table is a file of JSON lines that `recipe/table/make.py` wrote. The first line is a header: `task`, `problems` (their
ids) and how the table was made. Each other line is a workflow: its `steps`, and for each problem its outcome (a letter
of OUTCOMES), tokens and calls. The problems are shuffled by `task.options.split_seed`. The first half is validate, the
other half is test, and both are cut to their configured sizes.
"""

import json
import random
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as Checked

from aflow_env.config import TaskConfig, config_directory, explain
from aflow_env.errors import ConfigError
from aflow_env.tasks.dataset import SPLIT_SEED, split_sizes
from aflow_env.tasks.problem import Problem, RunTests, Score, Split, content_digest
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.steps import Step, StepError, to_workflow

OUTCOMES = {"1": "correct", "0": "wrong", "t": "timeout", "c": "crash", "v": "violation"}
Name = Annotated[str, Checked(min_length=1)]


class TableRow(BaseModel):
    """One workflow. `outcomes`, `tokens` (prompt, reply) and `calls` are in the order of the table's problems."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: tuple[tuple[str, str, int], ...]
    outcomes: Annotated[str, Checked(pattern=f"^[{''.join(OUTCOMES)}]*$")]
    tokens: tuple[tuple[int, int], ...]
    calls: tuple[int, ...]


class Header(BaseModel):
    """The table's task and problems. `made` has the model, the seed and other facts of its making."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1]
    task: Name
    problems: tuple[Name, ...]
    made: dict[str, object]


@dataclass(frozen=True)
class Table:
    """A table, with rows by the digest of their workflow. `digest` is that of the file's content."""

    path: Path
    header: Header
    rows: dict[str, TableRow]
    digest: str


@dataclass(frozen=True)
class TableTask:
    """A Task whose problems have only ids, because their outcomes are recorded."""

    spec: TaskSpec
    table: Table
    config: TaskConfig

    def load(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """Return the split's problems, at most its configured size and at most `limit`; there are none to train on."""
        names = list(self.table.header.problems)
        random.Random(self.config.options.get("split_seed", SPLIT_SEED)).shuffle(names)
        border = ceil(len(names) / 2)
        chosen = {"train": [], "validate": names[:border], "test": names[border:]}[split]
        size = split_sizes(self.config)[split]
        return [Problem(name, name, "") for name in chosen[: size if limit is None else min(size, limit)]]

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """Refuse: a table has scores of workflows, and no answers."""
        raise ConfigError(
            f"task.table={self.config.table} scores no output: set executor=table, or leave the table out"
        )


def table_task(config: TaskConfig, spec: TaskSpec) -> TableTask:
    """Return the task of `task.table` with the benchmark's words. Raises ConfigError."""
    if config.train_size:
        raise ConfigError(
            f"task.train_size={config.train_size} with task.table={config.table}: a table has problems to validate and "
            "to test, and none to train on. Set task.train_size=0: a training then takes the validate problems"
        )
    return TableTask(spec, read_table(str(config.table), spec), config)


@lru_cache(maxsize=8)
def read_table(name: str, spec: TaskSpec) -> Table:
    """Read a table of conf/aflow/tables by its name, or a file. Raises ConfigError that names the line."""
    known = config_directory() / "aflow" / "tables" / f"{name}.jsonl"
    path = known if known.is_file() else Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(f"task.table={name}: there is no {known} and no file {path}. Make it: docs/tasks.md, Tables")
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"task.table={name}: {path} cannot be read: {error}") from error
    place = f"{path} line 1"
    try:
        head = Header.model_validate_json(header)
        if head.task != spec.name:
            raise ConfigError(f"task.table={name}: {path} is a table of {head.task}; set task={head.task}")
        if len(set(head.problems)) < len(head.problems):
            raise ConfigError(f"{place}: a problem is there twice, and would be validate and test; ids must be unique")
        rows: dict[str, TableRow] = {}
        for number, line in enumerate(lines, start=2):
            place = f"{path} line {number}"
            row = TableRow.model_validate_json(line)
            if {len(row.outcomes), len(row.tokens), len(row.calls)} != {len(head.problems)}:
                raise ConfigError(f"{place}: it has not one outcome, pair of tokens and number of calls a problem")
            workflow = to_workflow([Step(*step) for step in row.steps], spec)
            rows[workflow.digest] = row
    except ValidationError as error:
        raise ConfigError(f"{place}: {explain(error, '')}") from None
    except StepError as error:
        raise ConfigError(f"{place}: its steps are no workflow of {spec.name}: {error}") from error
    return Table(path, head, rows, content_digest([header, *lines]))


def dumped(header: Header, rows: list[TableRow]) -> str:
    """Return a table's text, a line for each workflow."""
    lines = (json.dumps(each.model_dump(mode="json"), separators=(",", ":")) for each in (header, *rows))
    return "".join(f"{line}\n" for line in lines)
