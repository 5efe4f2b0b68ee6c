# SPDX-License-Identifier: Apache-2.0
"""The JSON schema of the edits that fit a workflow, for servers that hold a reply to one (structured output).

It lists each operation and operator with the positions that are valid for them, so whatever a model writes under it
fits; only an edit that changes nothing can still be written.
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
    """Build the schema of the edits that fit these steps; properties come in the order of `format_edit`."""
    positions: dict[tuple[str, str | None, int | None], tuple[Edit, set[int]]] = {}
    for edit in every_edit(steps, task, ("?",)):
        key = edit.operation, edit.operator, edit.parameters.to
        positions.setdefault(key, (edit, set()))[1].add(edit.position)
    return {"anyOf": [_alternative(edit, sorted(places)) for edit, places in positions.values()]}


def _alternative(edit: Edit, positions: Sequence[int]) -> Schema:
    """Edits of this one's operation, operator and target, at any of these positions."""
    operator = {"operator": {"const": edit.operator}} if edit.operator else {}
    parameters = _parameters(edit)
    given = {"parameters": parameters} if parameters["properties"] else {}
    needed = ["parameters"] if parameters["required"] else []
    return {
        "type": "object",
        "properties": {
            "operation": {"const": edit.operation},
            **operator,
            "position": {"enum": list(positions)},
            **given,
            "reason": _REASON,
        },
        "required": ["operation", *operator, "position", *needed],
        "additionalProperties": False,
    }


def _parameters(edit: Edit) -> Schema:
    """What the operation reads and the operator takes. `set_prompt` needs an instruction, `reorder` its target."""
    found: Schema = {}
    if "instruction" in READS[edit.operation] and (edit.operator is None or takes_instruction(edit.operator)):
        found["instruction"] = _INSTRUCTION
    if edit.operator is not None and takes_samples(edit.operator):
        found["samples"] = {"enum": list(SAMPLES)}
    if edit.parameters.to is not None:
        found["to"] = {"const": edit.parameters.to}
    required = [] if edit.operation in ("add", "replace") else list(found)
    return {"type": "object", "properties": found, "required": required, "additionalProperties": False}
