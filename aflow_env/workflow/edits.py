# SPDX-License-Identifier: Apache-2.0
"""The policy's action: one edit of a list of steps, its JSON form, its effect, and the grammar and schema of edits.

`parse_edit` takes linear time for any text. It returns an Edit or raises InvalidEdit with one short sentence, which
becomes experience. Positions count from 1, as in STEP_1_PROMPT.
"""

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from aflow_env.errors import WorkflowError
from aflow_env.workflow.parsing import json_objects, strip_thinking
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.signatures import SIGNATURES, complaint
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
# The effect of each operation, and the parameters that it reads.
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
Schema = dict[str, Any]
_Item = TypeVar("_Item")
_Model = TypeVar("_Model", bound=BaseModel)


class InvalidEdit(WorkflowError):
    """The text is no edit, or the edit is not valid for the workflow."""


class NoChange(InvalidEdit):
    """The edit is valid and changes nothing."""


# With a length, pydantic also refuses half a surrogate pair, which cannot be encoded.
Text = Annotated[StrictStr, Field(max_length=MAX_INSTRUCTION)]
Reason = Annotated[StrictStr, Field(max_length=MAX_REASON)]


class EditParameters(BaseModel):
    """The parameters of operations: the step's prompt, an ensemble's size, the target of a move."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    instruction: Text | None = None
    samples: Annotated[StrictInt, Field(ge=SAMPLES[0], le=SAMPLES[-1])] | None = None
    to: StrictInt | None = None


class Edit(BaseModel):
    """One change of one step. For remove, reorder and set_prompt a given operator must be the step's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    operation: Operation
    operator: Text | None = None
    position: StrictInt
    parameters: EditParameters = EditParameters()
    reason: Reason = ""


def parse_edit(text: str) -> Edit:
    """Return the first JSON object with an "operation" in free or fenced text. Raises InvalidEdit alone."""
    return parse_action(text, Edit)


def parse_action(text: str, model: type[_Model]) -> _Model:
    """Return the first JSON object with an "operation", after the thinking, as this model. Raises InvalidEdit alone."""
    text = strip_thinking(text)
    if len(text) > MAX_TEXT:
        raise InvalidEdit(f"the reply is longer than {MAX_TEXT} characters")
    found = next((item for item in json_objects(text) if "operation" in item), None)
    if found is None:
        raise InvalidEdit('no JSON object with an "operation" in the reply')
    try:
        return model.model_validate({key: value for key, value in found.items() if value is not None})
    except ValidationError as error:
        raise InvalidEdit(": ".join(complaint(error))) from None


def format_edit(edit: Edit) -> str:
    """Return the one-line JSON in fixed key order, without absent and empty keys."""
    fields = edit.model_dump(exclude_none=True)
    return json.dumps({key: value for key, value in fields.items() if value not in ({}, "")}, ensure_ascii=False)


def describe(edit: Edit) -> str:
    """Return the edit as AFlow's `modification` sentence, without parameters that are not read."""
    given = _read_parameters(edit)
    sentence = {
        "add": f"Add {edit.operator} as step {edit.position}",
        "remove": f"Remove step {edit.position}",
        "replace": f"Replace step {edit.position} by {edit.operator}",
        "reorder": f"Move step {edit.position} to position {given.to}",
        "set_prompt": f"Set the prompt of step {edit.position}",
    }[edit.operation]
    if given.samples is not None:
        sentence += f" with {given.samples} samples"
    if given.instruction is not None:
        sentence += f", instruction {json.dumps(given.instruction, ensure_ascii=False)}"
    return f"{sentence}. {edit.reason}" if edit.reason else f"{sentence}."


def apply_edit(steps: Sequence[Step], edit: Edit, task: TaskSpec) -> tuple[Step, ...]:
    """Return the steps after the edit. Parameters that the operation or the operator does not read are ignored.

    Raises InvalidEdit for an edit that is not valid for these steps, and NoChange for one that changes nothing.
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
    """Draw a valid edit: first the operation, uniform among the possible ones, then operator, position and parameters.

    Instructions are drawn from the given ones. Raises ValueError when no edit is possible.
    """
    edits = _shuffled_edits(len(steps), task, instructions, rng)
    drawn = next((edit for edit in edits if _fits(steps, edit, task)), None)
    if drawn is None:
        raise ValueError(f"no edit of {len(steps)} steps is possible with operators {task.operators}")
    return drawn


def every_edit(steps: Sequence[Step], task: TaskSpec, instructions: Sequence[str]) -> Iterator[Edit]:
    """Yield each edit that `uniform_edit` may draw, once, in a fixed order."""
    for drawn in _shuffled_edits(len(steps), task, instructions, Random(0)):
        for samples in [None] if drawn.parameters.samples is None else SAMPLES:
            edit = drawn.model_copy(update={"parameters": drawn.parameters.model_copy(update={"samples": samples})})
            if _fits(steps, edit, task):
                yield edit


def _fits(steps: Sequence[Step], edit: Edit, task: TaskSpec) -> bool:
    try:
        return bool(apply_edit(steps, edit, task))
    except InvalidEdit:
        return False


def edit_grammar(task: TaskSpec) -> str:
    """Return the instructions for an LLM to write an Edit."""
    allowed = usable_operators(task)
    later = [name for name in allowed if not starts(name) and not takes_samples(name)]
    # The example is valid for most workflows and helps few, so it is no hint.
    example = Edit(operation="add", operator=[*later, *allowed][0], position=2, reason="why it should help")
    sampled = ", ".join(filter(takes_samples, allowed))
    sources = ", ".join(name for name in GENERATING if name in allowed)
    samples = f"samples ({SAMPLES[0]} to {SAMPLES[-1]}): only for {sampled}, which must follow {sources}."
    parameters = {name: f" (parameters: {', '.join(read)})" if read else "" for name, read in READS.items()}
    lines = [
        "An edit is one JSON object:",
        '{"operation": ..., "operator": ..., "position": N, "parameters": {...}, "reason": ...}',
        f"For example: {format_edit(example)}",
        *(f"- {name}: {MEANING[name]}{parameters[name]}" for name in OPERATIONS),
        f"Operators: {', '.join(allowed)}. Steps count from 1; a workflow has 1 to {MAX_STEPS}; the first is "
        f"{', '.join(filter(starts, allowed))}.",
        f"instruction (at most {MAX_INSTRUCTION} characters): only for "
        f"{', '.join(filter(takes_instruction, allowed)) or 'none'}.",
        *([samples] if sampled else []),
        f"reason: at most {MAX_REASON} characters. Leave out what is not needed.",
    ]
    return "\n".join(lines)


def edit_schema(steps: Sequence[Step], task: TaskSpec) -> Schema:
    """Return the JSON schema of the edits that fit these steps, with properties in the order of `format_edit`.

    It lists each operation and operator with their valid positions. Its edits are valid, or change nothing.
    """
    positions: dict[tuple[str, str | None, int | None], tuple[Edit, set[int]]] = {}
    for edit in every_edit(steps, task, ("?",)):
        key = edit.operation, edit.operator, edit.parameters.to
        positions.setdefault(key, (edit, set()))[1].add(edit.position)
    return {"anyOf": [_alternative(edit, sorted(places)) for edit, places in positions.values()]}


def _alternative(edit: Edit, positions: Sequence[int]) -> Schema:
    operator = {"operator": {"const": edit.operator}} if edit.operator else {}
    parameters = _parameters(edit)
    properties = {
        "operation": {"const": edit.operation},
        **operator,
        "position": {"enum": list(positions)},
        **({"parameters": parameters} if parameters["properties"] else {}),
        "reason": {"type": "string", "maxLength": MAX_REASON},
    }
    needed = ["parameters"] if parameters["required"] else []
    return _object(properties, ["operation", *operator, "position", *needed])


def _parameters(edit: Edit) -> Schema:
    """Return the schema of the parameters that the operation reads and the operator takes."""
    found: Schema = {}
    if "instruction" in READS[edit.operation] and (edit.operator is None or takes_instruction(edit.operator)):
        found["instruction"] = {"type": "string", "minLength": 1, "maxLength": MAX_INSTRUCTION}
    if edit.operator is not None and takes_samples(edit.operator):
        found["samples"] = {"enum": list(SAMPLES)}
    if edit.parameters.to is not None:
        found["to"] = {"const": edit.parameters.to}
    return _object(found, [] if edit.operation in ("add", "replace") else list(found))


def _object(properties: Schema, required: Sequence[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _index(name: str, position: int | None, last: int) -> int:
    if position is None or not 1 <= position <= last:
        raise InvalidEdit(f"{name} must be 1 to {last}")
    return position - 1


def _read_parameters(edit: Edit) -> EditParameters:
    """Return the parameters that the operation reads and, for a new step, that its operator takes."""
    read = set(READS[edit.operation])
    if edit.operation in ("add", "replace") and edit.operator in SIGNATURES:
        taken = {"instruction": takes_instruction(edit.operator), "samples": takes_samples(edit.operator)}
        read = {name for name in read if taken[name]}
    return EditParameters.model_validate(edit.parameters.model_dump(include=read))


def _new_step(edit: Edit, given: EditParameters, task: TaskSpec) -> Step:
    if edit.operator is None or edit.operator not in usable_operators(task):
        wanted = "is missing" if edit.operator is None else f"{edit.operator[:40]!a} is not allowed"
        raise InvalidEdit(f"the operator {wanted}: use one of {', '.join(usable_operators(task))}")
    samples = given.samples or (DEFAULT_SAMPLES if takes_samples(edit.operator) else 0)
    return Step(edit.operator, given.instruction or "", samples)


def _shuffled_edits(count: int, task: TaskSpec, instructions: Sequence[str], rng: Random) -> Iterator[Edit]:
    """Yield all edits in an order in which the first valid one is uniform at every level of choice."""

    def shuffled(items: Sequence[_Item]) -> list[_Item]:
        return rng.sample(items, len(items))

    for operation in shuffled(OPERATIONS):
        makes_step = operation in ("add", "replace")
        for operator in shuffled(usable_operators(task)) if makes_step else [None]:
            prompted = operation == "set_prompt" or (operator is not None and takes_instruction(operator))
            phrases = instructions if instructions or operation == "set_prompt" else [None]
            sampled = operator is not None and takes_samples(operator)
            for position in shuffled(range(1, count + 1 + (operation == "add"))):
                for to in shuffled(range(1, count + 1)) if operation == "reorder" else [None]:
                    for instruction in shuffled(phrases) if prompted else [None]:
                        samples = rng.choice(SAMPLES) if sampled else None
                        given = EditParameters(instruction=instruction, samples=samples, to=to)
                        yield Edit(operation=operation, operator=operator, position=position, parameters=given)
