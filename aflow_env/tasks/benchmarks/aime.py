# SPDX-License-Identifier: Apache-2.0
"""AIME: answers are whole numbers 0 to 999. Fields `problem`, `answer`, `id`, in lower case or capitalised.

Scored by the last number of the output's last `\\boxed{}`, or of an output without one.
"""

import re
from functools import partial

from aflow_env.tasks.dataset import FileTask, Hub, by_text
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import score_whole_number
from aflow_env.workflow.program import TaskSpec

SPEC = TaskSpec("aime", "AIME", ("Custom", "ScEnsemble", "Vote", "Programmer"), answers="whole_number")
HUB = Hub("HuggingFaceH4/aime_2024", whole="train")


def problem(record: Record) -> Problem:
    """Read a record of a published AIME file. Raises ConfigError unless the answer is 0 to 999."""
    answer = record.text("answer", "Answer").strip()
    if not re.fullmatch(r"[0-9]{1,3}(\.0)?", answer):
        raise record.error("answer", f"should be a whole number 0 to 999, not {answer[:40]!r}")
    own_id = next((record.text(name) for name in ("id", "ID") if name in record.fields), "")
    return Problem(
        f"aime/{own_id}" if own_id else "", record.text("problem", "Problem", "question"), answer.split(".")[0]
    )


task = partial(FileTask, spec=SPEC, convert=problem, judge=by_text(score_whole_number), hub=HUB)
