# SPDX-License-Identifier: Apache-2.0
"""Write the simulated executor's words and code about a story, rightly or with a slip.

A wrong reply is wrong in one operation and consistent after it: its steps lead to its result, and its code computes it.
"""

from collections.abc import Collection
from dataclasses import replace

from aflow_env.tasks.benchmarks.arithmetic import Kind, Operation, Story

_SWAPPED: dict[Kind, Kind] = {"add": "subtract", "subtract": "add", "multiply": "add", "divide": "subtract"}
_SIGNS: dict[Kind, str] = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_CHANGES: dict[Kind, str] = {"add": "add", "subtract": "subtract", "multiply": "multiply by", "divide": "divide by"}
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
    lines = []
    for index, (operation, before) in enumerate(zip(story.operations, story.quantities, strict=False), start=1):
        sign, after = _SIGNS[operation.kind], operation.apply(before)
        lines.append(f"Step {index}: {before} {sign} {operation.number} = {after}.")
    return "\n".join(lines)


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
