# SPDX-License-Identifier: Apache-2.0
"""The simulated executor's reading and writing: the content of a prompt, and words and code about its story.

An operator's prompt is recognised by the tags that it asks for. Its arguments have tags of their own. A Custom step's
earlier answer is below "Earlier answer:" (or "Previous solution:" and similar labels).

A wrong reply is wrong in one operation and consistent after it: its steps lead to its result, and its code computes it.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from aflow_env.llm.simulated.landscape import Cue
from aflow_env.tasks.benchmarks.arithmetic import Kind, Operation, Story, read
from aflow_env.tasks.scorers import last_number

Role = Literal["text", "think", "code", "vote", "review", "revise", "format"]
Found = Literal["none", "right", "wrong"]

_GIVEN = re.compile(
    r"^<(problem|solutions?|analysis|feedback|failed_code|error|test_result)>\n(.*?)\n</\1>$", re.DOTALL | re.MULTILINE
)
_EARLIER = re.compile(
    r"^[^\n]*\b(?:earlier|previous|prior|draft|proposed|existing)\s+(?:answer|solution|attempt|response|analysis)s?\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_QUANTITIES = re.compile(r"^Quantities: start (\d+)(.*)\.$", re.MULTILINE)
_CHANGE = re.compile(r"; (add|subtract|multiply by|divide by) (\d+)")
_WORK = re.compile(r"\d+ [-+*/x] \d+ = \d+")
_WORD = re.compile(r"[a-z]+")
_SENTENCE_END = re.compile(r"[.!?\n;]")
_LETTERED = re.compile(r"^([A-Z]):\n", re.MULTILINE)


@dataclass(frozen=True)
class Text:
    """The view of an earlier text: its result, whether its steps are shown, its list of quantities."""

    result: Found
    shows_work: bool
    plan: Found


@dataclass(frozen=True)
class Reading:
    """The content of a prompt. `earlier` is the text that the reply builds on, empty when there is none."""

    role: Role
    story: Story
    cues: frozenset[str]
    earlier: str
    feedback: str
    candidates: tuple[str, ...]
    failed_before: bool


def read_prompt(prompt: str, cues: Mapping[str, Cue]) -> Reading | None:
    """Return the content of the prompt, or None when there is no arithmetic story in it."""
    story = read(prompt)
    if story is None:
        return None
    given: dict[str, str] = dict(_GIVEN.findall(prompt))
    wish = _GIVEN.sub("\n", prompt) if "problem" in given else prompt[: story.begins] + "\n" + prompt[story.ends :]
    earlier = given.get("analysis") or given.get("solution") or ""
    if not earlier:
        body = given.get("problem", wish)
        if label := _EARLIER.search(body):
            earlier = body[label.end() :]
            wish = wish if "problem" in given else body[: label.start()]
    return Reading(
        role=_role(wish, given),
        story=story,
        cues=_wanted(wish, tuple((name, cue.words) for name, cue in cues.items())),
        earlier="" if earlier.strip() == "None" else earlier.strip(),
        feedback=given.get("feedback", "").strip(),
        candidates=tuple(part.strip() for part in _LETTERED.split(given.get("solutions", ""))[2::2]),
        failed_before="error" in given,
    )


def look_at(text: str, story: Story) -> Text:
    """Return the view of `text`, an earlier answer to `story`."""
    number = last_number(text)
    result: Found = "none" if number is None else "right" if number == story.answer else "wrong"
    return Text(result, _WORK.search(text) is not None, _plan(text, story))


@lru_cache(maxsize=4096)  # a workflow asks with one instruction for every problem
def _wanted(instruction: str, cues: tuple[tuple[str, tuple[str, ...]], ...]) -> frozenset[str]:
    """Return the names of the cues, each given with its wordings, that the instruction asks for.

    A sentence asks for a cue when it holds all the words of one of its wordings, in any order or form. A negation ("do
    not think step by step") is not understood.
    """
    sentences = [
        "".join(f" {word}" for word in _WORD.findall(sentence)) for sentence in _SENTENCE_END.split(instruction.lower())
    ]

    def asked(wording: str) -> bool:
        words = [f" {word}" for word in wording.lower().split()]
        return any(all(word in sentence for word in words) for sentence in sentences)

    return frozenset(name for name, wordings in cues if any(map(asked, wordings)))


def _role(wish: str, given: Mapping[str, str]) -> Role:
    """Return the role by the tags that the reply should have. The tags of given texts do not count."""
    asked: dict[str, Role] = {
        **{"<review_result>": "review", "<solution_letter>": "vote", "<code>": "code", "<thought>": "think"},
        **({"<solution>": "revise", "<answer>": "format"} if "solution" in given else {}),
    }
    return next((role for tag, role in asked.items() if tag in wish), "text")


def _plan(text: str, story: Story) -> Found:
    lists = _QUANTITIES.findall(text)
    if not lists:
        return "none"
    start, changes = lists[-1]
    listed = [(_KINDS[kind], int(number)) for kind, number in _CHANGE.findall(changes)]
    wanted = [(operation.kind, operation.number) for operation in story.operations]
    return "right" if int(start) == story.start and listed == wanted else "wrong"


_SWAPPED: dict[Kind, Kind] = {"add": "subtract", "subtract": "add", "multiply": "add", "divide": "subtract"}
_SIGNS: dict[Kind, str] = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_CHANGES: dict[Kind, str] = {"add": "add", "subtract": "subtract", "multiply": "multiply by", "divide": "divide by"}
_KINDS = {words: kind for kind, words in _CHANGES.items()}
_GREETING = (
    "Hello, dear student! What a lovely problem you have brought me today. Do not worry if it looks hard at first: "
    "we will look at it together, calmly and with a smile, and you will see that there is nothing to be afraid of."
)
_FAREWELL = "You did wonderfully by asking, and I am very proud of you. Keep up the good work and never lose heart!"
ACCEPTED = "<review_result>True</review_result>\n<feedback>The solution is right.</feedback>"
REJECTED = (
    "<review_result>False</review_result>\n"
    "<feedback>The solution is wrong: one of the changes was not followed. Go through the story again.</feedback>"
)
"""Verdicts, each with a sentence of feedback."""


def slips(story: Story) -> tuple[Story, ...]:
    """Return the stories of a careless reader, at least one, each with another result."""
    misread = []
    for index, operation in enumerate(story.operations):
        rest = story.operations[:index], story.operations[index + 1 :]
        misread.append(replace(story, operations=(*rest[0], *rest[1])))
        swapped = Operation(_SWAPPED[operation.kind], operation.number)
        misread.append(replace(story, operations=(*rest[0], swapped, *rest[1])))
    wrong = tuple(each for each in misread if each.answer != story.answer and min(each.quantities) >= 0)
    return wrong or (replace(story, operations=(*story.operations, Operation("add", 1))),)


def write_quantities(story: Story) -> str:
    """Return the list that the cue `quantities` asks for."""
    changes = "".join(f"; {_CHANGES[operation.kind]} {operation.number}" for operation in story.operations)
    return f"Quantities: start {story.start}{changes}."


def write_work(story: Story) -> str:
    """Return the steps, one a line."""
    return "\n".join(
        f"Step {index}: {before} {_SIGNS[operation.kind]} {operation.number} = {operation.apply(before)}."
        for index, (operation, before) in enumerate(zip(story.operations, story.quantities, strict=False), start=1)
    )


def write_text(story: Story, quantities: str, cues: Collection[str]) -> str:
    """Return a reply in words about `story` as it was understood. Its last number is the result."""
    if "bare" in cues:
        return str(story.answer)
    parts = [_GREETING] if "teacher" in cues else []
    parts += [quantities] if quantities else []
    if {"step", "check"} & set(cues):
        parts.append(write_work(story))
    if "check" in cues:
        parts.append("Working backwards through these steps leads to the number at the start again.")
    parts.append(f"The answer is {story.answer}.")
    parts += [_FAREWELL] if "teacher" in cues else []
    return "\n".join(parts)


def write_code(story: Story, crashes: bool) -> str:
    """Return a reply with `solve()`. With `crashes` it uses a name that is not defined."""
    lines = [f"    {story.thing} = {story.start}"]
    for operation in story.operations:
        sign = "//" if operation.kind == "divide" else _SIGNS[operation.kind]
        lines.append(f"    {story.thing} = {story.thing} {sign} {operation.number}")
    result = "result" if crashes else story.thing
    return "<code>\ndef solve():\n" + "\n".join(lines) + f"\n    return {result}\n</code>"
