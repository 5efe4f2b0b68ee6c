# SPDX-License-Identifier: Apache-2.0
"""DROP: questions that count, compare and add up what a passage says. Fields `context`, `ref_text`; scored by F1.

`context` is the passage and the question, ready to be answered; `ref_text` the accepted answers, separated by `|`.
"""

from aflow_env.config import TaskConfig
from aflow_env.tasks.base import Problem
from aflow_env.tasks.dataset import FileTask, by_text
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import score_alternatives
from aflow_env.workflow.program import TaskSpec

SPEC = TaskSpec("drop", "DROP", ("Custom", "AnswerGenerate", "ScEnsemble"))


def task(config: TaskConfig) -> FileTask:
    """DROP in the prompt form that AFlow uses; the data set's hub form has other fields, so a file is needed."""
    return FileTask(config, SPEC, problem, by_text(score_alternatives))


def problem(record: Record) -> Problem:
    """A record as a problem. Raises ConfigError when no accepted answer is left."""
    answers = record.text("ref_text")
    if not answers.replace("|", "").strip():
        raise record.error("ref_text", "holds no answer")
    return Problem("", record.text("context"), answers)
