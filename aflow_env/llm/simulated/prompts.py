# SPDX-License-Identifier: Apache-2.0
"""Read a prompt for the simulated executor: the problem, the request, and the earlier text.

An operator's prompt is recognised by the tags that it asks for. Its arguments have tags of their own. A Custom step's
earlier answer is below "Earlier answer:" (or "Previous solution:" and similar labels).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from aflow_env.llm.simulated.landscape import Cue
from aflow_env.tasks.benchmarks.arithmetic import Story, read
from aflow_env.tasks.scorers import last_number

Role = Literal["text", "think", "code", "vote", "review", "revise", "format"]
Found = Literal["none", "right", "wrong"]

_KINDS = {"add": "add", "subtract": "subtract", "multiply by": "multiply", "divide by": "divide"}

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
