# SPDX-License-Identifier: Apache-2.0
"""The value question: the score of the workflow after an edit, as one digit.

The text of the state comes first, as in the edit question, so a server's prefix cache serves both. The edit's reason is
left out, because a policy that predicts its own edits must not praise them.
"""

from difflib import unified_diff

from aflow_env.config import AflowConfig
from aflow_env.llm.client import Message
from aflow_env.search.prediction.predict import Candidate
from aflow_env.search.proposals.proposal import Messages, State, render_head, render_workflow, system_text
from aflow_env.workflow.edits import describe, parse_edit
from aflow_env.workflow.program import Workflow

QUESTION = (
    "How well will the workflow score after the edit? Answer with one digit from 0 (none right) to 9 (all right)."
)


def value_messages(state: State, edit: Candidate, config: AflowConfig) -> Messages:
    """Return the question: the parent's steps and score, the edit, and the steps after it.

    Parent and edit have half of `config.state_characters` each and are cut at the end.
    """
    half = config.state_characters // 2
    after = render_workflow(State(edit.workflow, state.task, 0.0, 0))
    change = f"Edit: {render_edit(state.workflow, edit, config)}\nAfter the edit:\n{after}"
    return (
        Message(role="system", content=system_text(state.task, config.form)),
        Message(role="user", content=f"{render_head(state)[:half]}{change[:half]}\n{QUESTION}"),
    )


def render_edit(before: Workflow, edit: Candidate, config: AflowConfig) -> str:
    """Return an edit of the grammar as a sentence without its reason, any other change as a diff of the sources."""
    if config.form == "edit":
        return describe(parse_edit(edit.text).model_copy(update={"reason": ""}))
    old, new = (f"{each.graph}\n{each.prompts}".splitlines() for each in (before, edit.workflow))
    lines = unified_diff(old, new, lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
