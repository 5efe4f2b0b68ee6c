# SPDX-License-Identifier: Apache-2.0
"""GSM8K, HotpotQA and DROP: questions with a short answer.

GSM8K has grade-school word problems. Fields `question`, `answer` (ends in `#### N`). Scored by the last number.

HotpotQA (distractor) has questions over ten paragraphs. Fields `question`, `answer`, `context`, `_id`. `context` is a
list of [title, sentences] pairs, or the Hugging Face form {"title": [...], "sentences": [[...], ...]}. The prompt is
AFlow's: the paragraphs without their titles, then the question. Scored by F1.

DROP has questions about facts and numbers of a passage. Fields `context` (passage and question), `ref_text` (the
accepted answers, separated by `|`). Scored by F1. `task.options.scorer` is `f1`, for which an output is one answer, or
`aflow`, which splits the output at `|` too.
"""

import logging
from functools import partial
from typing import Any

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks.dataset import FileTask, Hub, by_text
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import (
    SHORT,
    last_number,
    score_alternatives,
    score_alternatives_of_both,
    score_f1,
    score_number,
)
from aflow_env.workflow.program import TaskSpec

GSM8K = TaskSpec("gsm8k", "GSM8K", ("Custom", "ScEnsemble", "Vote", "Programmer"), answers="number")
READING = ("Custom", "AnswerGenerate", "ScEnsemble", "Vote")
DROP_SCORERS = {"f1": score_alternatives, "aflow": score_alternatives_of_both}
log = logging.getLogger(__name__)


def gsm8k_problem(record: Record) -> Problem:
    """Read a record of the official files. Raises ConfigError when the answer has no number."""
    answer = record.text("answer")
    if last_number(answer) is None:
        raise record.error("answer", "has no number in it; GSM8K's end in `#### N`")
    return Problem("", record.text("question"), answer)


def hotpotqa_problem(record: Record) -> Problem:
    """Read a record of the official file. Raises ConfigError."""
    context = "\n".join(" ".join(sentences) for sentences in _paragraphs(record))
    question = record.text("question")
    own_id = next((record.text(name) for name in ("_id", "id") if name in record.fields), "")
    answer = record.checked("answer", record.text("answer"), SHORT["f1"].refuses)
    return Problem(own_id, f"Context: {context}\n\nQuestion: {question}\n\nAnswer:", answer)


def _paragraphs(record: Record) -> list[list[str]]:
    context: Any = record.value("context")
    paragraphs: Any = [None]
    if isinstance(context, dict):
        paragraphs = context.get("sentences")
    elif isinstance(context, list):
        paragraphs = [pair[1] if isinstance(pair, list) and len(pair) == 2 else None for pair in context]
    lists: list[Any] = paragraphs if isinstance(paragraphs, list) else [None]
    if not all(isinstance(part, list) and all(isinstance(sentence, str) for sentence in part) for part in lists):
        raise record.error("context", "should be a list of [title, sentences] pairs")
    return lists


def drop_problem(record: Record) -> Problem:
    """Read a record. Raises ConfigError without an accepted answer."""
    answers = record.text("ref_text")
    return Problem("", record.text("context"), record.checked("ref_text", answers, SHORT["alternatives"].refuses))


def drop(config: TaskConfig) -> FileTask:
    """Return DROP with AFlow's prompts. It needs a file, because the hub's data set has other fields."""
    scorer = config.options.get("scorer", "f1")
    if scorer not in DROP_SCORERS:
        raise ConfigError(f"task.options.scorer={scorer!r}: drop has the scorers {' and '.join(DROP_SCORERS)}.")
    if scorer == "aflow":
        log.warning(
            "task.options.scorer=aflow: AFlow's rule takes the best `|`-separated part of an output, so a workflow "
            "that lists every phrase of the passage scores near 1. Use it to compare with AFlow alone."
        )
    spec = TaskSpec("drop", "DROP", READING)
    return FileTask(config, spec, drop_problem, by_text(DROP_SCORERS[scorer]), options=("scorer",))


gsm8k = partial(
    FileTask,
    spec=GSM8K,
    convert=gsm8k_problem,
    judge=by_text(score_number),
    hub=Hub("openai/gsm8k", ("main",), train="train"),
)
"""AFlow's GSM8K: validate and test are its 1:4 split of the official test split."""
hotpotqa = partial(
    FileTask,
    spec=TaskSpec("hotpotqa", "HotpotQA", READING),
    convert=hotpotqa_problem,
    judge=by_text(score_f1),
    hub=Hub("hotpotqa/hotpot_qa", ("distractor",), train="train", whole="validation"),
)
