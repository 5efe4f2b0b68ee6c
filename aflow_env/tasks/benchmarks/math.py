# SPDX-License-Identifier: Apache-2.0
"""MATH: competition problems. Fields `problem`, `solution` (with `\\boxed{}`), `level`, `type`.

`task.options.scorer` is `verify` (math-verify, the default) or `aflow`. `task.options.levels` and `.subjects` select
problems. AFlow's are level 5 of four subjects, 605 problems of the official test split, 119 validate and 486 test.
"""

from fractions import Fraction

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks.benchmarks.math_judge import MathJudge
from aflow_env.tasks.dataset import FileTask, Hub
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.records import Record
from aflow_env.workflow.answers import last_boxed
from aflow_env.workflow.program import TaskSpec

SPEC = TaskSpec("math", "MATH", ("Custom", "ScEnsemble", "Vote", "Programmer"), answers="boxed")
SUBJECTS = ("counting_and_probability", "number_theory", "prealgebra", "precalculus")
HUB = Hub("EleutherAI/hendrycks_math", SUBJECTS, train="train")
SHARE = Fraction(119, 605)


def task(config: TaskConfig) -> FileTask:
    """Return MATH with the wanted levels and subjects. Raises ConfigError for an unknown scorer."""
    scorer = config.options.get("scorer", "verify")
    if scorer not in ("verify", "aflow"):
        raise ConfigError(f"task.options.scorer={scorer!r}: math has the scorers verify and aflow.")
    levels = tuple(config.options.get("levels") or ())
    subjects = tuple(config.options.get("subjects") or ())

    def convert(record: Record) -> Problem | None:
        if levels and record.text("level") not in levels:
            return None
        if subjects and record.text("type", "subject") not in subjects:
            return None
        return problem(record)

    return FileTask(config, SPEC, convert, MathJudge(scorer).score, HUB, SHARE, ("scorer", "levels", "subjects"))


def problem(record: Record) -> Problem:
    """Read a record of the official files. Raises ConfigError when the solution has no boxed answer."""
    solution = record.text("solution")
    if not last_boxed(solution):
        raise record.error("solution", "has no \\boxed{} answer in it")
    return Problem("", record.text("problem"), solution)
