# SPDX-License-Identifier: Apache-2.0
"""HotpotQA (distractor): questions over ten paragraphs. Fields `question`, `answer`, `context`, `_id`; scored by F1.

`context` is a list of [title, sentences] pairs, or the Hugging Face form {"title": [...], "sentences": [[...], ...]}.
The prompt is AFlow's: the paragraphs without their titles, then the question.
"""

from functools import partial
from typing import Any

from aflow_env.tasks.dataset import FileTask, Hub, by_text
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import SHORT, score_f1
from aflow_env.workflow.program import TaskSpec

SPEC = TaskSpec("hotpotqa", "HotpotQA", ("Custom", "AnswerGenerate", "ScEnsemble", "Vote"))
HUB = Hub("hotpotqa/hotpot_qa", ("distractor",), train="train", whole="validation")


def problem(record: Record) -> Problem:
    """Read a record of the official file. Raises ConfigError."""
    context = "\n".join(" ".join(sentences) for sentences in _paragraphs(record))
    question = record.text("question")
    own_id = next((record.text(name) for name in ("_id", "id") if name in record.fields), "")
    answer = record.checked("answer", record.text("answer"), SHORT["f1"].refuses)
    return Problem(own_id, f"Context: {context}\n\nQuestion: {question}\n\nAnswer:", answer)


def _paragraphs(record: Record) -> list[list[str]]:
    context: Any = record.value("context")
    if isinstance(context, dict):
        paragraphs = context.get("sentences")
    elif isinstance(context, list):
        paragraphs = [pair[1] if isinstance(pair, list) and len(pair) == 2 else None for pair in context]
    else:
        paragraphs = None
    lists: Any = paragraphs if isinstance(paragraphs, list) else [None]
    if not all(isinstance(part, list) and all(isinstance(sentence, str) for sentence in part) for part in lists):
        raise record.error("context", "should be a list of [title, sentences] pairs")
    texts: list[list[str]] = lists
    return texts


task = partial(FileTask, spec=SPEC, convert=problem, judge=by_text(score_f1), hub=HUB)
