# SPDX-License-Identifier: Apache-2.0
"""Check a user's scores: a share in [0, 1], True or False, a tuple of one of these and a text, or a Score.

1 and True count as solved. The text is the feedback: `return 0.5, "the unit is missing"`. Any other value is an error
that names the scorer, the value, the problem and the reply.
"""

import reprlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from numbers import Real
from typing import Any

from aflow_env.errors import BudgetExhausted, ConfigError, InfrastructureError
from aflow_env.tasks.dataset import Judge
from aflow_env.tasks.problem import Problem, RunTests, Score, Split, Task
from aflow_env.workflow.program import TaskSpec

REPLY_SHOWN = 200  # characters of a reply in an error


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
