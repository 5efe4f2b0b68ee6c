# SPDX-License-Identifier: Apache-2.0
"""DROP: questions about facts and numbers of a passage. Fields `context`, `ref_text`; scored by F1.

`context` is the passage and the question. `ref_text` has the accepted answers, separated by `|`. `task.options.scorer`
is `f1`, for which an output is one answer, or `aflow`, which splits the output at `|` too.
"""

import logging

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks.dataset import FileTask, by_text
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import SHORT, score_alternatives, score_alternatives_of_both
from aflow_env.workflow.program import TaskSpec

SPEC = TaskSpec("drop", "DROP", ("Custom", "AnswerGenerate", "ScEnsemble", "Vote"))
SCORERS = {"f1": score_alternatives, "aflow": score_alternatives_of_both}
log = logging.getLogger(__name__)


def task(config: TaskConfig) -> FileTask:
    """Return DROP with AFlow's prompts. It needs a file, because the hub's data set has other fields."""
    scorer = config.options.get("scorer", "f1")
    if scorer not in SCORERS:
        raise ConfigError(f"task.options.scorer={scorer!r}: drop has the scorers {' and '.join(SCORERS)}.")
    if scorer == "aflow":
        log.warning(
            "task.options.scorer=aflow: AFlow's rule takes the best `|`-separated part of an output, so a workflow "
            "that lists every phrase of the passage scores near 1. Use it to compare with AFlow alone."
        )
    return FileTask(config, SPEC, problem, by_text(SCORERS[scorer]), options=("scorer",))


def problem(record: Record) -> Problem:
    """Read a record. Raises ConfigError without an accepted answer."""
    answers = record.text("ref_text")
    return Problem("", record.text("context"), record.checked("ref_text", answers, SHORT["alternatives"].refuses))
