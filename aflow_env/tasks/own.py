# SPDX-License-Identifier: Apache-2.0
"""A user's own task: `task.name` is a YAML file or `module:Class` (docs/tasks.md shows both).

The YAML names fields of records in braces, e.g. `prompt: "Translate {English text} into French."`. `{{`, `}}` and `{}`
are plain braces. Its scorer is one of `SCORERS`, or `module:function` of the gold answer and the output, with a result
as below. A class gets the TaskConfig and must be a Task (tasks/problem.py). Modules are found on PYTHONPATH,
then beside the YAML, or for a class in the current folder. They run in this process, because no model wrote them, and
print to standard error.

A user's score is a share in [0, 1], True or False, a tuple of one of these and a text, or a Score. 1 and True count as
solved. The text is the feedback: `return 0.5, "the unit is missing"`. Any other value is an error that names the
scorer, the value, the problem and the reply.
"""

import importlib
import re
import reprlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from aflow_env.config import TaskConfig, read_yaml
from aflow_env.errors import BudgetExhausted, ConfigError, InfrastructureError
from aflow_env.tasks.benchmarks.math import MathJudge, refuses_gold
from aflow_env.tasks.dataset import FileTask, Judge, by_text, check_operators
from aflow_env.tasks.problem import Problem, RunTests, Score, Split, Task, content_digest
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import SHORT, score_code, undefined
from aflow_env.workflow.program import TaskSpec

REPLY_SHOWN = 200  # characters of a reply in an error
SCORERS = (*SHORT, "math", "tests")
_FIELD = re.compile(r"\{\{|\}\}|\{\}|\{([^{}]+)\}")


class TaskFile(BaseModel):
    """The keys of a task's YAML. `public_tests` names a field with a list of asserts. The other texts are templates."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern=r"^\w+$")]
    prompt: str
    answer: str = ""
    scorer: str
    path: str | None = None
    dataset: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None = None
    id: str = ""
    operators: Annotated[tuple[str, ...], Field(min_length=1)] = ("Custom", "AnswerGenerate", "ScEnsemble")
    entry_point: str | None = None
    public_tests: str | None = None
    tests: str = ""


def own_task(config: TaskConfig) -> Task:
    """Return the task of `config.name`. Raises ConfigError."""
    return _from_yaml(config) if config.name.endswith((".yaml", ".yml")) else _from_class(config)


def own_digest(config: TaskConfig) -> str:
    """Return 16 hex digits over an own task's YAML and the module of its scorer or class; "" for a benchmark.

    Imports of that module are not in it. Raises ConfigError as `own_task` does.
    """
    if not is_own(config.name):
        return ""
    if ":" in config.name:
        return content_digest(_source(config.name, "task.name", Path.cwd()))
    file, task = _read(config)
    source = _source(task.scorer, f"{file}: scorer", file.parent) if ":" in task.scorer else ""
    return content_digest([task.model_dump(mode="json"), source])


def is_own(name: str) -> bool:
    """Return whether `task.name` is a YAML or a class."""
    return name.endswith((".yaml", ".yml")) or ":" in name


def fill(template: str, record: Record) -> str:
    """Fill a template with the record's fields, by names with or without outer spaces. Raises ConfigError."""

    def text(found: re.Match[str]) -> str:
        if found[1] is None:
            return {"{{": "{", "}}": "}", "{}": "{}"}[found[0]]
        return record.text(found[1] if found[1] in record.fields else found[1].strip())

    return _FIELD.sub(text, template)


def _check_braces(task: TaskFile, file: Path) -> None:
    """Raise ConfigError for a brace without a partner."""
    for key, template in task.model_dump(include={"id", "prompt", "answer", "entry_point", "tests"}).items():
        if brace := re.search(r"[{}].{0,29}", _FIELD.sub("", template or ""), re.DOTALL):
            raise ConfigError(
                f"{file}: {key}: a brace has no partner at {brace[0]!r}; write {{{{ or }}}} for a plain one."
            )


def unanswered(config: TaskConfig, record: Record) -> Problem:
    """Return the problem of a record without an answer: its field `problem`, else the prompt of the task's YAML.

    Raises ConfigError with line and name of a missing field.
    """
    own = "problem" not in record.fields and config.name.endswith((".yaml", ".yml"))
    prompt = fill(_read(config)[1].prompt if own else "{problem}", record)
    entry_point = record.text("entry_point") if "entry_point" in record.fields else None
    return Problem("", prompt, "", entry_point, record.texts("public_tests") if "public_tests" in record.fields else ())


def _read(config: TaskConfig) -> tuple[Path, TaskFile]:
    file = Path(config.name).expanduser()
    return file, read_yaml(file, TaskFile, f"task.name={config.name!r}")


def _from_yaml(config: TaskConfig) -> FileTask:
    file, task = _read(config)
    if config.path is None and task.path is not None:
        config = config.model_copy(update={"path": str(file.parent / Path(task.path).expanduser())})
    if task.scorer == "tests" and not (task.entry_point and task.tests):
        raise ConfigError(f"{file}: scorer tests needs `entry_point` and `tests` (code that defines check(candidate)).")
    kind = {"number": "number", "whole_number": "whole_number", "math": "boxed"}.get(task.scorer, "text")
    dataset, coded = task.dataset or task.name.upper(), task.entry_point is not None
    spec = TaskSpec(task.name, dataset, task.operators, coded, answers=kind)
    check_operators(spec, f"{file}: operators")
    _check_braces(task, file)
    refusals = {"math": refuses_gold} | {name: scorer.refuses for name, scorer in SHORT.items()}
    refuses = refusals.get(task.scorer, lambda gold: "")  # a function of the user takes any gold
    named = next((found[1] for found in _FIELD.finditer(task.answer) if found[1]), "answer").strip()

    def convert(record: Record) -> Problem:
        if task.scorer == "tests":
            _check_tests(record, fill(str(task.entry_point), record), fill(task.tests, record))
        return Problem(
            id=f"{task.name}/{fill(task.id, record)}" if task.id else "",
            prompt=fill(task.prompt, record),
            answer=record.checked(named, fill(task.answer, record), refuses),
            entry_point=None if task.entry_point is None else fill(task.entry_point, record),
            public_tests=() if task.public_tests is None else record.texts(task.public_tests),
            hidden_tests=fill(task.tests, record),
        )

    return FileTask(config, spec, convert, _judge(task.scorer, file))


def _judge(scorer: str, file: Path) -> Judge:
    if scorer == "tests":
        return score_code
    if scorer == "math":
        return MathJudge().score
    if scorer in SHORT:
        return by_text(SHORT[scorer].score)
    if ":" not in scorer:
        known = ", ".join(SCORERS)
        raise ConfigError(
            f"{file}: scorer={scorer!r}: there is no such scorer; there are {known}, and module:function."
        )
    return by_function(_imported(scorer, f"{file}: scorer", file.parent), f"{file}: scorer={scorer!r}")


def _check_tests(record: Record, entry_point: str, tests: str) -> None:
    """Raise ConfigError for tests that every solution would fail."""
    if not entry_point.isidentifier():
        raise ConfigError(f"{record.place}: entry_point {entry_point!r} is not the name of a function or class.")
    if complaint := undefined(tests, entry_point):
        raise ConfigError(f"{record.place}: the code of `tests` cannot judge a solution: it {complaint}.")


def _from_class(config: TaskConfig) -> Task:
    found = _imported(config.name, "task.name", Path.cwd())
    with redirect_stdout(sys.stderr):
        task: Task = found(config)
    missing = [name for name in ("spec", "load", "score") if not hasattr(task, name)]
    if missing:
        class_name = config.name.partition(":")[2]
        raise ConfigError(f"task.name={config.name!r}: {class_name} has no {', '.join(missing)}; see docs/tasks.md.")
    return ClassTask(task, f"task.name={config.name!r}")


def _source(name: str, key: str, folder: Path) -> str:
    """Return the text of the module of `module:attribute`; "" for one that is not Python source."""
    _imported(name, key, folder)
    file = getattr(sys.modules[name.partition(":")[0]], "__file__", None) or ""
    return Path(file).read_text(encoding="utf-8") if file.endswith(".py") else ""


def _imported(name: str, key: str, folder: Path) -> Any:
    """Return the object of `module:attribute`, from PYTHONPATH or else from `folder`. Raises ConfigError."""
    module_name, _, attribute = name.partition(":")
    if (place := str(folder.resolve())) not in sys.path:
        sys.path.append(place)
    try:
        with redirect_stdout(sys.stderr):
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{key}={name!r}: cannot import {module_name!r} ({type(error).__name__}: {error}); it is looked for on "
            f"PYTHONPATH and in {place}."
        ) from error
    if not callable(getattr(module, attribute, None)):
        where = getattr(module, "__file__", None) or "built into Python: give your file another name"
        raise ConfigError(f"{key}={name!r}: the module {module_name} ({where}) has no {attribute} to call.")
    return getattr(module, attribute)


def by_function(function: Callable[[str, str], object], where: str) -> Judge:
    """Return a Judge that calls the user's function. It raises ConfigError when that raises or returns no score."""

    async def judge(problem: Problem, output: str, run_code: RunTests) -> Score:
        with _blaming(where, problem, output), redirect_stdout(sys.stderr):
            found = function(problem.answer, output)
        return read_score(found, where, problem, output)

    return judge


@contextmanager
def _blaming(where: str, problem: Problem, output: str) -> Iterator[None]:
    """Raise ConfigError, with the problem and the reply, for an error of the user's code."""
    try:
        yield
    except (BudgetExhausted, InfrastructureError):
        raise
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {str(error)[:REPLY_SHOWN]}"
        raise ConfigError(f"{where} raised {why}, {_about(problem, output)}.") from error


def _about(problem: Problem, output: str) -> str:
    return f"for {problem.id}, where the reply begins {output[:REPLY_SHOWN]!r}"


def read_score(found: Any, where: str, problem: Problem, output: str) -> Score:
    """Return a scorer's result as a Score. Raises ConfigError for a result that is none."""
    share, text = found if isinstance(found, tuple) and len(found) == 2 else (found, "")
    if isinstance(found, Score):
        share, text = found.value, found.feedback
    is_share = isinstance(share, Real) and share <= 1 and not share < 0  # false for NaN
    if not isinstance(text, str) or not is_share:
        raise ConfigError(
            f"{where} gave {reprlib.repr(found)} ({type(found).__name__}) {_about(problem, output)}: return a number "
            "from 0 to 1, True or False, a tuple of one of these and a text, or a Score of them."
        )
    return found if isinstance(found, Score) else Score(float(share), output.strip(), bool(share == 1), feedback=text)


@dataclass(frozen=True)
class ClassTask:
    """A Task of a user's class, with checked scores."""

    task: Task
    where: str

    @property
    def spec(self) -> TaskSpec:
        """The spec of the user's task."""
        return self.task.spec

    def load(self, split: Split, limit: int | None = None, seed: int = 0) -> list[Problem]:
        """Return the problems of the user's task."""
        return self.task.load(split, limit, seed)

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """Return the score of the user's task. Raises ConfigError when it raises, or returns no score."""
        with _blaming(self.where, problem, output):
            found = await self.task.score(problem, output, run_code)
        return read_score(found, self.where, problem, output)
