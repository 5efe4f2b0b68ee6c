# SPDX-License-Identifier: Apache-2.0
"""The policy's action when an implementer LLM writes the program: operation, operator and reason of an edit."""

from pydantic import BaseModel, ConfigDict

from aflow_env.workflow.edits import MAX_REASON, MEANING, InvalidEdit, Operation, Reason, Text, parse_action
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.steps import usable_operators

_SENTENCES: dict[Operation, str] = {
    "add": "Add a step",
    "remove": "Remove a step",
    "replace": "Replace a step",
    "reorder": "Change the order of the steps",
    "set_prompt": "Rewrite a prompt",
}


class Suggestion(BaseModel):
    """An operation, its operator, and a reason with all other details."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    operation: Operation
    operator: Text | None = None
    reason: Reason = ""

    def sentence(self) -> str:
        """Return the sentence for the implementer, which is also AFlow's `modification`."""
        operator = f" ({self.operator})" if self.operator else ""
        return f"{_SENTENCES[self.operation]}{operator}.{' ' if self.reason else ''}{self.reason}"


def parse_suggestion(text: str, task: TaskSpec) -> Suggestion:
    """Return the suggestion in free or fenced text. Raises InvalidEdit alone.

    Adding and replacing need an operator. A named operator must be one of the task's.
    """
    said = parse_action(text, Suggestion)
    allowed = usable_operators(task)
    if said.operator is None and said.operation in ("add", "replace"):
        raise InvalidEdit(f"{said.operation} needs an operator: use one of {', '.join(allowed)}")
    if said.operator is not None and said.operator not in allowed:
        raise InvalidEdit(f"the operator {said.operator[:40]!a} is not allowed: use one of {', '.join(allowed)}")
    return said


def suggestion_grammar(task: TaskSpec) -> str:
    """Return the instructions for an LLM to write a suggestion."""
    operations = "\n".join(f"- {name}: {meaning}" for name, meaning in MEANING.items())
    return (
        "A suggestion is one JSON object; another model will write the code:\n"
        '{"operation": ..., "operator": ..., "reason": ...}\n'
        f"{operations}\nOperators: {', '.join(usable_operators(task))}.\n"
        f"reason: what to change and why, at most {MAX_REASON} characters."
    )
