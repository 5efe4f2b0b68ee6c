# SPDX-License-Identifier: Apache-2.0
"""The policy's action: one edit of a list of steps, its JSON form in and out, and what it does.

Reading is defensive: whatever text a policy writes, `parse_edit` returns an Edit or raises InvalidEdit with one short
sentence that becomes experience, in time linear in the text. Positions count from 1, as in STEP_1_PROMPT.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from aflow_env.errors import WorkflowError
from aflow_env.workflow.parsing import json_objects, strip_thinking
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import (
    GENERATING,
    MAX_STEPS,
    SAMPLES,
    Step,
    StepError,
    check_steps,
    starts,
    takes_instruction,
    takes_samples,
    usable_operators,
)

MAX_TEXT = 20_000  # characters of a policy's reply after its thinking
MAX_INSTRUCTION = 600
MAX_REASON = 300
DEFAULT_SAMPLES = 3
Operation = Literal["add", "remove", "replace", "reorder", "set_prompt"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
# What each operation does, and the parameters that it reads: the one definition behind checks, grammar and drawing.
MEANING: dict[Operation, str] = {
    "add": "puts a new step of the operator at the position; one past the end appends",
    "remove": "deletes the step",
    "replace": "puts a new step of the operator in its place",
    "reorder": "moves the step to position `to`",
    "set_prompt": "gives the step a new instruction",
}
READS: dict[Operation, tuple[str, ...]] = {
    "add": ("instruction", "samples"),
    "remove": (),
    "replace": ("instruction", "samples"),
    "reorder": ("to",),
    "set_prompt": ("instruction",),
}
_Item = TypeVar("_Item")
_Model = TypeVar("_Model", bound=BaseModel)


class InvalidEdit(WorkflowError):
    """The text is no edit, or the edit does not fit the workflow; the text says why in one sentence."""


class NoChange(InvalidEdit):
    """The edit is well-formed and fits, and leaves the workflow as it is."""


def _encodable(text: str) -> str:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("half a surrogate pair is not text")
    return text


Text = Annotated[StrictStr, AfterValidator(_encodable)]


class EditParameters(BaseModel):
    """What some operations need: the step's prompt, an ensemble's size, the place to move to."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    instruction: Annotated[Text, Field(max_length=MAX_INSTRUCTION)] | None = None
    samples: Annotated[StrictInt, Field(ge=SAMPLES[0], le=SAMPLES[-1])] | None = None
    to: StrictInt | None = None


class Edit(BaseModel):
    """One change of one step; for remove, reorder and set_prompt an operator, if given, must be the step's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    operation: Operation
    operator: Text | None = None
    position: StrictInt
    parameters: EditParameters = EditParameters()
    reason: Annotated[Text, Field(max_length=MAX_REASON)] = ""


def parse_edit(text: str) -> Edit:
    """The first JSON object with an "operation" in free or fenced text; raises InvalidEdit, and nothing else."""
    return parse_action(text, Edit)


def parse_action(text: str, model: type[_Model]) -> _Model:
    """The first JSON object with an "operation" as this model; raises InvalidEdit, and nothing else.

    Thinking is cut first.
    """
    text = strip_thinking(text)
    if len(text) > MAX_TEXT:
        raise InvalidEdit(f"the reply is longer than {MAX_TEXT} characters")
    found = next((item for item in json_objects(text) if "operation" in item), None)
    if found is None:
        raise InvalidEdit('no JSON object with an "operation" in the reply')
    try:
        return model.model_validate(_without_nulls(found))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidEdit(f"{place[:60]!a}: {first['msg']}") from None


def format_edit(edit: Edit) -> str:
    """The canonical one-line JSON: fixed key order, nothing that is absent or empty; `parse_edit` reads it back."""
    fields = edit.model_dump(exclude_none=True)
    return json.dumps({key: value for key, value in fields.items() if value not in ({}, "")}, ensure_ascii=False)


def describe(edit: Edit) -> str:
    """The edit as AFlow's `modification` sentence; says nothing of parameters that are not read."""
    given = _read_parameters(edit)
    what = {
        "add": f"Add {edit.operator} as step {edit.position}",
        "remove": f"Remove step {edit.position}",
        "replace": f"Replace step {edit.position} by {edit.operator}",
        "reorder": f"Move step {edit.position} to position {given.to}",
        "set_prompt": f"Set the prompt of step {edit.position}",
    }[edit.operation]
    samples = "" if given.samples is None else f" with {given.samples} samples"
    instruction = (
        "" if given.instruction is None else f", instruction {json.dumps(given.instruction, ensure_ascii=False)}"
    )
    return f"{what}{samples}{instruction}.{' ' if edit.reason else ''}{edit.reason}"


def apply_edit(steps: Sequence[Step], edit: Edit, task: TaskSpec) -> tuple[Step, ...]:
    """The steps after the edit; raises InvalidEdit when it does not fit, changes nothing, or breaks the workflow.

    A parameter that the operation or the operator does not read is ignored: the edit has still said what it wants.
    """
    given = _read_parameters(edit)
    changed = list(steps)
    last = len(steps) + (edit.operation == "add")
    index = _index("position", edit.position, last)
    if edit.operation in ("add", "replace"):
        changed[index : index + (edit.operation == "replace")] = [_new_step(edit, given, task)]
    else:
        step = changed.pop(index)
        if edit.operator not in (None, step.operator):
            raise InvalidEdit(f"step {edit.position} is {step.operator}, not {edit.operator!a:.60}")
        if edit.operation == "reorder":
            changed.insert(_index("parameters.to", given.to, last), step)
        elif edit.operation == "set_prompt":
            if given.instruction is None:
                raise InvalidEdit("set_prompt needs parameters.instruction")
            changed.insert(index, Step(step.operator, given.instruction, step.samples))
    if changed == list(steps):
        raise NoChange("the edit changes nothing")
    try:
        check_steps(changed, task)
    except StepError as error:
        raise InvalidEdit(str(error)) from error
    return tuple(changed)


def uniform_edit(steps: Sequence[Step], task: TaskSpec, instructions: Sequence[str], rng: Random) -> Edit:
    """A valid edit: its operation uniform among those possible here, then operator, position and parameters likewise.

    Instructions come from the given phrases. Raises ValueError in the (tiny) spaces where no edit is possible.
    """
    for edit in _shuffled_edits(len(steps), usable_operators(task), instructions, rng):
        try:
            apply_edit(steps, edit, task)
        except InvalidEdit:
            continue
        return edit
    raise ValueError(f"no edit of {len(steps)} steps is possible with operators {task.operators}")


def every_edit(steps: Sequence[Step], task: TaskSpec, instructions: Sequence[str]) -> Iterator[Edit]:
    """Each edit that `uniform_edit` may draw, once, in a fixed order."""
    for drawn in _shuffled_edits(len(steps), usable_operators(task), instructions, Random(0)):
        for samples in [None] if drawn.parameters.samples is None else SAMPLES:
            edit = drawn.model_copy(update={"parameters": drawn.parameters.model_copy(update={"samples": samples})})
            try:
                apply_edit(steps, edit, task)
            except InvalidEdit:
                continue
            yield edit


def edit_grammar(task: TaskSpec) -> str:
    """How to write an Edit, for a language model: made from the definitions above."""
    allowed = usable_operators(task)
    operations = "\n".join(f"- {name}: {MEANING[name]}{_reads(READS[name])}" for name in OPERATIONS)
    prompted = ", ".join(filter(takes_instruction, allowed)) or "none"
    sampled = [name for name in allowed if takes_samples(name)]
    firsts = ", ".join(filter(starts, allowed))
    lines = [
        "An edit is one JSON object:",
        '{"operation": ..., "operator": ..., "position": N, "parameters": {...}, "reason": ...}',
        f"For example: {format_edit(_example(allowed))}",
        operations,
        f"Operators: {', '.join(allowed)}. Steps count from 1; a workflow has 1 to {MAX_STEPS}; the first is {firsts}.",
        f"instruction (at most {MAX_INSTRUCTION} characters): only for {prompted}.",
        f"reason: at most {MAX_REASON} characters. Leave out what is not needed.",
    ]
    if sampled:
        sources = ", ".join(name for name in GENERATING if name in allowed)
        rule = f"samples ({SAMPLES[0]} to {SAMPLES[-1]}): only for {', '.join(sampled)}, which must follow {sources}."
        lines.insert(-1, rule)
    return "\n".join(lines)


def _example(allowed: Sequence[str]) -> Edit:
    """An edit that fits most workflows and helps few: it shows the form, and is no hint."""
    later = (name for name in allowed if not starts(name) and not takes_samples(name))
    return Edit(operation="add", operator=next(later, allowed[0]), position=2, reason="why it should help")


def _reads(parameters: tuple[str, ...]) -> str:
    return f" (parameters: {', '.join(parameters)})" if parameters else ""


def _without_nulls(found: Mapping[str, object]) -> dict[str, object]:
    """Models write null for what is absent."""
    return {key: value for key, value in found.items() if value is not None}


def _index(name: str, position: int | None, last: int) -> int:
    if position is None or not 1 <= position <= last:
        raise InvalidEdit(f"{name} must be 1 to {last}")
    return position - 1


def _read_parameters(edit: Edit) -> EditParameters:
    """The parameters that the operation reads and, where it makes a step, that its operator takes."""
    read = set(READS[edit.operation])
    if edit.operation in ("add", "replace") and edit.operator in SIGNATURES:
        if not takes_instruction(edit.operator):
            read.discard("instruction")
        if not takes_samples(edit.operator):
            read.discard("samples")
    return EditParameters.model_validate(edit.parameters.model_dump(include=read))


def _new_step(edit: Edit, given: EditParameters, task: TaskSpec) -> Step:
    if edit.operator is None or edit.operator not in usable_operators(task):
        wanted = "is missing" if edit.operator is None else f"{edit.operator[:40]!a} is not allowed"
        raise InvalidEdit(f"the operator {wanted}: use one of {', '.join(usable_operators(task))}")
    samples = given.samples or (DEFAULT_SAMPLES if takes_samples(edit.operator) else 0)
    return Step(edit.operator, given.instruction or "", samples)


def _shuffled_edits(count: int, operators: Sequence[str], instructions: Sequence[str], rng: Random) -> Iterator[Edit]:
    """All edits in an order such that the first valid one is uniform at every level of choice."""

    def shuffled(items: Sequence[_Item]) -> list[_Item]:
        return rng.sample(items, len(items))

    for operation in shuffled(OPERATIONS):
        makes_step = operation in ("add", "replace")
        for operator in shuffled(operators) if makes_step else [None]:
            prompted = operation == "set_prompt" or (operator is not None and takes_instruction(operator))
            phrases = instructions if instructions or operation == "set_prompt" else [None]
            sampled = operator is not None and takes_samples(operator)
            for position in shuffled(range(1, count + 1 + (operation == "add"))):
                for to in shuffled(range(1, count + 1)) if operation == "reorder" else [None]:
                    for instruction in shuffled(phrases) if prompted else [None]:
                        samples = rng.choice(SAMPLES) if sampled else None
                        given = EditParameters(instruction=instruction, samples=samples, to=to)
                        yield Edit(operation=operation, operator=operator, position=position, parameters=given)
