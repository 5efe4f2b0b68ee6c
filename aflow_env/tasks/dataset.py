# SPDX-License-Identifier: Apache-2.0
"""A benchmark whose problems are records of files: their source, their splits and `task.options`.

- `task.path` is a folder: its files `SPLIT.jsonl` (`.json`, `.csv`; `NAME_SPLIT.jsonl`, AFlow's names) are the splits.
- `task.path` is one file: it is shuffled with seed 42 (`task.options.split_seed`). The first fifth, rounded up, is
  validate and the rest test. These are AFlow's sizes (264/1055 of GSM8K's 1,319; 33/131 of HumanEval's 164). AFlow
  publishes sizes and seed but no code for the split, so its partition may differ.
- `task.path` is null: the Hugging Face data set. A single test split is split as one file is.

A split is in file order and cut to its configured size. It does not depend on the seed of a search.
"""

import itertools
import math
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks.problem import Problem, RunTests, Score, Split
from aflow_env.tasks.records import Record, read_records
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import usable_operators

SPLIT_SEED = 42
ENDINGS = (".jsonl", ".json", ".csv")
COMMON = ("operators", "split_seed")
"""The keys of `task.options` that every benchmark has."""


@dataclass(frozen=True)
class Hub:
    """A Hugging Face data set. Its split `whole` is cut 1:4 into validate and test."""

    name: str
    configs: tuple[str | None, ...] = (None,)
    train: str | None = None
    whole: str = "test"


Convert = Callable[[Record], Problem | None]
"""Turns a record into a problem, or into None to leave it out. An empty id is filled in later. Raises ConfigError."""
Judge = Callable[[Problem, str, RunTests], Awaitable[Score]]
"""Scores an output against its problem."""


def by_text(score: Callable[[str, str], Score]) -> Judge:
    """Return a Judge that reads only the gold answer and the output."""

    async def judge(problem: Problem, output: str, run_code: RunTests) -> Score:
        return score(problem.answer, output)

    return judge


@dataclass(eq=False)
class FileTask:
    """A Task from a reader of records and a scorer. Raises ConfigError for wrong options.

    `share` is validate's part of unsplit records. `options` are the keys of `task.options` beside COMMON.
    """

    config: TaskConfig
    spec: TaskSpec
    convert: Convert
    judge: Judge
    hub: Hub | None = None
    share: Fraction = Fraction(1, 5)
    options: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_options(self.config, *self.options)
        self.spec = spec_with_operators(self.spec, self.config)

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """Score by the judge."""
        return await self.judge(problem, output, run_code)

    def load(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """Return the split's problems, at most its configured size and at most `limit`. Raises ConfigError."""
        size = split_sizes(self.config)[split]
        size = size if limit is None else min(size, limit)
        if size == 0:
            return []
        records, is_whole = self._records(split)
        problems = self._convert(records, split)
        problems = self._cut(problems, split) if is_whole else problems
        if not problems and split != "train":
            raise ConfigError(f"task.path={self.config.path!r}: it has no {split} problem for {self.spec.name}.")
        return problems[:size]

    def _convert(self, records: Sequence[Record], split: Split) -> list[Problem]:
        problems: dict[str, Problem] = {}
        for record in records:
            problem = self.convert(record)
            if problem is None:
                continue
            if not problem.id:
                problem = replace(problem, id=f"{self.spec.name}/{split}/{record.line}-{problem.digest[:6]}")
            if problem.id in problems:
                raise ConfigError(f"{record.place}: the id {problem.id!r} is there twice; ids must be unique.")
            problems[problem.id] = problem
        return list(problems.values())

    def _records(self, split: Split) -> tuple[Sequence[Record], bool]:
        """Return the records of the split, or of all validate and test problems, and whether it is all of them."""
        if self.config.path is None:
            if self.hub is None:
                raise ConfigError(f"task.path is null, but {self.spec.name} has no data set to fetch: set task.path.")
            if split == "train":
                return list(fetch(self.hub, self.hub.train)) if self.hub.train else [], False
            return list(fetch(self.hub, self.hub.whole)), True
        path = Path(self.config.path).expanduser()
        if path.is_dir():
            file = self._file(path, split)
            return list(read_records(file)) if file else [], False
        if not path.exists():
            raise ConfigError(f"task.path={self.config.path!r}: there is no such file or folder (in {Path.cwd()}).")
        return list(read_records(path)), True

    def _file(self, folder: Path, split: Split) -> Path | None:
        names = [f"{stem}{ending}" for stem in (split, f"{self.spec.name}_{split}") for ending in ENDINGS]
        found = next((folder / name for name in names if (folder / name).is_file()), None)
        if found is None and split != "train":
            raise ConfigError(f"task.path={self.config.path!r}: the folder has no {split} file; it needs {names[0]}.")
        return found

    def _cut(self, problems: list[Problem], split: Split) -> list[Problem]:
        if split == "train":
            return []
        order = list(range(len(problems)))
        random.Random(self.config.options.get("split_seed", SPLIT_SEED)).shuffle(order)
        border = math.ceil(len(order) * self.share)
        return [problems[index] for index in sorted(order[:border] if split == "validate" else order[border:])]


def fetch(hub: Hub, split: str) -> Iterator[Record]:
    """Yield the rows of a Hugging Face data set. Raises ConfigError."""
    wanted = f"task.path is null, so the data set {hub.name} ({split}) is wanted, but"
    try:
        from datasets import load_dataset
    except ImportError:
        raise ConfigError(
            f"{wanted} the package `datasets` is not installed: pip install 'aflow-env[data]', or set task.path."
        ) from None
    line = itertools.count(1)
    for config in hub.configs:
        try:
            rows: Any = load_dataset(hub.name, config, split=split)
        except (OSError, ValueError, RuntimeError) as error:
            why = f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0]}"
            raise ConfigError(
                f"{wanted} it cannot be loaded: {why}. Set task.path to a folder with train/validate/test.jsonl or to "
                "one .jsonl file, or go online."
            ) from None
        yield from (Record(hub.name, next(line), dict(row)) for row in rows)


def split_sizes(config: TaskConfig) -> dict[Split, int]:
    """Return the configured size of each split."""
    return {"train": config.train_size, "validate": config.validate_size, "test": config.test_size}


def check_options(config: TaskConfig, *own: str) -> None:
    """Raise ConfigError for a key of `task.options` that is neither in COMMON nor in `own`."""
    for key in config.options:
        if key not in (*COMMON, *own):
            hint = " A task of your own also needs task=own." if config.name.endswith((".yaml", ".yml")) else ""
            raise ConfigError(
                f"task.options.{key}={config.options[key]!r}: {config.name} has no such option; "
                f"it has {', '.join((*own, *COMMON))}.{hint}"
            )
    seed = config.options.get("split_seed", 0)
    if not isinstance(seed, int):
        raise ConfigError(f"task.options.split_seed={seed!r}: give a whole number (AFlow's is 42).")


def spec_with_operators(spec: TaskSpec, config: TaskConfig) -> TaskSpec:
    """Return `spec` with the operators of `task.options.operators`, if given. Raises ConfigError."""
    names = config.options.get("operators")
    if names is None:
        return spec
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"task.options.operators={names!r}: give a list of operator names, e.g. [Custom,ScEnsemble].")
    chosen = replace(spec, operators=tuple(names))
    check_operators(chosen, "task.options.operators")
    return chosen


def check_operators(spec: TaskSpec, where: str) -> None:
    """Raise ConfigError for an unknown operator, or one that needs an entry point and gets none."""
    usable = usable_operators(replace(spec, operators=tuple(SIGNATURES)))
    for name in spec.operators:
        if name not in usable:
            raise ConfigError(f"{where}: there is no {name!r} for {spec.name}; there are {', '.join(usable)}.")
