# SPDX-License-Identifier: Apache-2.0
"""The JSON schema of the edits that fit a workflow, for structured output.

It lists each operation and operator with their valid positions. Every edit of the schema is valid, or changes nothing.
"""

from collections.abc import Sequence
from typing import Any

from aflow_env.workflow.edits import MAX_INSTRUCTION, MAX_REASON, READS, Edit, every_edit
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.steps import SAMPLES, Step, takes_instruction, takes_samples

Schema = dict[str, Any]
_INSTRUCTION: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_INSTRUCTION}
_REASON: Schema = {"type": "string", "maxLength": MAX_REASON}


def edit_schema(steps: Sequence[Step], task: TaskSpec) -> Schema:
    """Return the schema of the edits that fit these steps, with properties in the order of `format_edit`."""
    positions: dict[tuple[str, str | None, int | None], tuple[Edit, set[int]]] = {}
    for edit in every_edit(steps, task, ("?",)):
        key = edit.operation, edit.operator, edit.parameters.to
        positions.setdefault(key, (edit, set()))[1].add(edit.position)
    return {"anyOf": [_alternative(edit, sorted(places)) for edit, places in positions.values()]}


def _alternative(edit: Edit, positions: Sequence[int]) -> Schema:
    """Return the schema of this edit's operation, operator and target at any of these positions."""
    operator = {"operator": {"const": edit.operator}} if edit.operator else {}
    parameters = _parameters(edit)
    properties = {
        "operation": {"const": edit.operation},
        **operator,
        "position": {"enum": list(positions)},
        **({"parameters": parameters} if parameters["properties"] else {}),
        "reason": _REASON,
    }
    needed = ["parameters"] if parameters["required"] else []
    return _object(properties, ["operation", *operator, "position", *needed])


def _parameters(edit: Edit) -> Schema:
    """Return the schema of the parameters that the operation reads and the operator takes.

    `set_prompt` needs an instruction, `reorder` its target.
    """
    found: Schema = {}
    if "instruction" in READS[edit.operation] and (edit.operator is None or takes_instruction(edit.operator)):
        found["instruction"] = _INSTRUCTION
    if edit.operator is not None and takes_samples(edit.operator):
        found["samples"] = {"enum": list(SAMPLES)}
    if edit.parameters.to is not None:
        found["to"] = {"const": edit.parameters.to}
    return _object(found, [] if edit.operation in ("add", "replace") else list(found))


def _object(properties: Schema, required: Sequence[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
