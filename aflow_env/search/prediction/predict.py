# SPDX-License-Identifier: Apache-2.0
"""Q(s, a): the predicted score of a proposed edit, before the edit is run, and the value question that asks for it.

The text of the state comes first, as in the edit question, so a server's prefix cache serves both. The edit's reason is
left out, because a policy that predicts its own edits must not praise them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Protocol, runtime_checkable

from aflow_env.config import AflowConfig
from aflow_env.llm.client import Message
from aflow_env.search.proposals.proposal import Messages, State, render_head, render_workflow, system_text
from aflow_env.store.experience import Evaluated
from aflow_env.workflow.edits import describe, parse_edit
from aflow_env.workflow.program import Workflow

QUESTION = (
    "How well will the workflow score after the edit? Answer with one digit from 0 (none right) to 9 (all right)."
)


@dataclass(frozen=True)
class Candidate:
    """A proposed edit that passed the gate: the proposer's text, and the resulting workflow."""

    text: str
    workflow: Workflow


@dataclass(frozen=True)
class ActionValue:
    """Q(s, a) of one candidate, in [0, 1].

    `mass` is the policy's probability of a digit, 1 when Q is not read from digits. `payload` has the tokens that a
    trainer needs.
    """

    q: float
    mass: float = 1.0
    payload: object = None


class QPredictor(Protocol):
    """Predict the scores of workflows that have not been run."""

    async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
        """Return one value for each edit of the state's workflow, in order.

        A value depends on the state and its own edit alone. A predictor that cannot answer raises an error.
        """
        ...


@runtime_checkable
class LearningPredictor(Protocol):
    """A predictor that is fitted in each round, on the evaluations that the round may use."""

    def fitted(self, evaluated: Sequence[Evaluated]) -> tuple[QPredictor | None, int]:
        """Return the round's predictor, None to abstain, and the number of evaluations that it is fitted on."""
        ...


async def ask(predictor: QPredictor, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
    """Ask a predictor. Raises ValueError unless it gives one value in [0, 1] for each edit."""
    values = await predictor.predict(state, edits)
    if len(values) != len(edits) or not all(0.0 <= each.q <= 1.0 for each in values):
        said = [each.q for each in values]
        raise ValueError(f"{type(predictor).__name__} predicted {said} for {len(edits)} edits: one in [0, 1] for each")
    return values


async def value(predictor: QPredictor | None, state: State, edit: Candidate) -> ActionValue | None:
    """Return Q of a single edit; None without a predictor."""
    return (await ask(predictor, state, [edit]))[0] if predictor else None


def value_messages(state: State, edit: Candidate, config: AflowConfig) -> Messages:
    """Return the question. Parent and edit have half of `state_characters` each and are cut at the end."""
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
