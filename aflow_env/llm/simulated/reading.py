# SPDX-License-Identifier: Apache-2.0
"""What the simulated executor makes of a prompt: the problem in it, what is asked for, and what an earlier text says.

Nothing is passed on the side: whatever the executor knows stands in the prompt. An operator's prompt is recognised by
the tags that it asks for; what it gives stands in tags of its own; a Custom step's earlier answer stands below "Earlier
answer:" (or "Previous solution:" and the like).
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
Plan = Literal["none", "right", "wrong"]

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
    """What can be seen of an earlier text: its result, whether its steps are shown, its list of quantities."""

    result: Literal["none", "right", "wrong"]
    shows_work: bool
    plan: Plan


@dataclass(frozen=True)
class Reading:
    """What a prompt holds. `earlier` is the text that the reply builds on, empty when there is none."""

    role: Role
    story: Story
    cues: frozenset[str]
    earlier: str
    feedback: str
    candidates: tuple[str, ...]
    failed_before: bool


def read_prompt(prompt: str, cues: Mapping[str, Cue]) -> Reading | None:
    """What stands in the prompt; None when there is no arithmetic story in it."""
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
        cues=_wanted(wish, tuple((name, tuple(cue.words)) for name, cue in cues.items())),
        earlier="" if earlier.strip() == "None" else earlier.strip(),
        feedback=given.get("feedback", "").strip(),
        candidates=_candidates(given.get("solutions", "")),
        failed_before="error" in given,
    )


def look_at(text: str, story: Story) -> Text:
    """What can be seen of `text`, an earlier answer to `story`."""
    number = last_number(text)
    result: Literal["none", "right", "wrong"] = (
        "none" if number is None else "right" if number == story.answer else "wrong"
    )
    return Text(result, _WORK.search(text) is not None, _plan(text, story))


def asks_for(instruction: str, cue: Cue) -> bool:
    """Whether some sentence of the instruction holds all the words of one of the cue's wordings, in any order or form.

    A negation ("do not think step by step") is not understood.
    """
    return bool(_wanted(instruction, (("", tuple(cue.words)),)))


@lru_cache(maxsize=4096)  # a workflow asks with one instruction for every problem
def _wanted(instruction: str, cues: tuple[tuple[str, tuple[str, ...]], ...]) -> frozenset[str]:
    """Return the names of the cues, each given with its wordings, that the instruction asks for."""
    sentences = _sentences(instruction)
    return frozenset(name for name, words in cues if _asks_for(sentences, words))


def _sentences(text: str) -> list[str]:
    """Lower-case words, each after one space, a sentence at a time."""
    return ["".join(f" {word}" for word in _WORD.findall(sentence)) for sentence in _SENTENCE_END.split(text.lower())]


def _asks_for(sentences: list[str], words: tuple[str, ...]) -> bool:
    wordings = [[f" {word}" for word in wording.lower().split()] for wording in words]
    return any(all(word in sentence for word in wording) for sentence in sentences for wording in wordings)


def _role(wish: str, given: Mapping[str, str]) -> Role:
    """By the tags that the reply should have; what stands in given texts does not count."""
    if "<review_result>" in wish:
        return "review"
    if "<solution_letter>" in wish:
        return "vote"
    if "<code>" in wish:
        return "code"
    if "<thought>" in wish:
        return "think"
    if "<solution>" in wish and "solution" in given:
        return "revise"
    if "<answer>" in wish and "solution" in given:
        return "format"
    return "text"


def _plan(text: str, story: Story) -> Plan:
    lists = _QUANTITIES.findall(text)
    if not lists:
        return "none"
    start, changes = lists[-1]
    kinds = {"add": "add", "subtract": "subtract", "multiply by": "multiply", "divide by": "divide"}
    listed = [(kinds[kind], int(number)) for kind, number in _CHANGE.findall(changes)]
    wanted = [(operation.kind, operation.number) for operation in story.operations]
    return "right" if int(start) == story.start and listed == wanted else "wrong"


def _candidates(solutions: str) -> tuple[str, ...]:
    parts = _LETTERED.split(solutions)
    return tuple(part.strip() for part in parts[2::2])
