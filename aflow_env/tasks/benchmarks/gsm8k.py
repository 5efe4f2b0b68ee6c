# SPDX-License-Identifier: Apache-2.0
"""GSM8K: grade-school word problems. Fields `question`, `answer` (ends in `#### N`); scored by the last number."""

from functools import partial

from aflow_env.tasks.dataset import FileTask, Hub, by_text
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import last_number, score_number
from aflow_env.workflow.program import TaskSpec

SPEC = TaskSpec("gsm8k", "GSM8K", ("Custom", "ScEnsemble", "Vote", "Programmer"), answers="number")
HUB = Hub("openai/gsm8k", ("main",), train="train")


def problem(record: Record) -> Problem:
    """Read a record of the official files. Raises ConfigError when the answer has no number."""
    answer = record.text("answer")
    if last_number(answer) is None:
        raise record.error("answer", "has no number in it; GSM8K's end in `#### N`")
    return Problem("", record.text("question"), answer)


task = partial(FileTask, spec=SPEC, convert=problem, judge=by_text(score_number), hub=HUB)
"""AFlow's GSM8K: validate and test are its 1:4 split of the official test split."""
