# SPDX-License-Identifier: Apache-2.0
"""The policy's action where somebody else writes the code: what to change and why, not where and how.

A suggestion is the part of an edit that asks for judgement: the operation, the operator, the reason. An implementer LLM
reads it as a sentence and writes the program. Reading is defensive, as for edits: any text gives a Suggestion or raises
InvalidEdit with one short sentence.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aflow_env.workflow.edits import MAX_REASON, MEANING, InvalidEdit, Operation, Text, parse_action
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
    """What to change: an operation, the operator that it is about, and the reason, which says the rest."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    operation: Operation
    operator: Text | None = None
    reason: Annotated[Text, Field(max_length=MAX_REASON)] = ""

    def sentence(self) -> str:
        """As an implementer reads it, and as AFlow's `modification`."""
        operator = f" ({self.operator})" if self.operator else ""
        return f"{_SENTENCES[self.operation]}{operator}.{' ' if self.reason else ''}{self.reason}"


def parse_suggestion(text: str, task: TaskSpec) -> Suggestion:
    """The suggestion in free or fenced text; raises InvalidEdit, and nothing else.

    Adding and replacing need an operator; any operator that is named must be one that the task has.
    """
    said = parse_action(text, Suggestion)
    allowed = usable_operators(task)
    if said.operator is None and said.operation in ("add", "replace"):
        raise InvalidEdit(f"{said.operation} needs an operator: use one of {', '.join(allowed)}")
    if said.operator is not None and said.operator not in allowed:
        raise InvalidEdit(f"the operator {said.operator[:40]!a} is not allowed: use one of {', '.join(allowed)}")
    return said


def suggestion_grammar(task: TaskSpec) -> str:
    """How to write a suggestion, for a language model: made from the definitions above."""
    operations = "\n".join(f"- {name}: {meaning}" for name, meaning in MEANING.items())
    return (
        "A suggestion is one JSON object; another model will write the code:\n"
        '{"operation": ..., "operator": ..., "reason": ...}\n'
        f"{operations}\nOperators: {', '.join(usable_operators(task))}.\n"
        f"reason: what to change and why, at most {MAX_REASON} characters."
    )
