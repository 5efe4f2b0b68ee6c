# SPDX-License-Identifier: Apache-2.0
"""Q(s, a): the predicted score of a proposed edit, before the edit is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from aflow_env.search.proposals.proposal import State
from aflow_env.store.experience import Evaluated
from aflow_env.workflow.program import Workflow


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


@dataclass(frozen=True)
class RoundPredictor:
    """The predictor of a round, if any, and the number of evaluations that it is fitted on."""

    predictor: QPredictor | None
    evaluations: int | None = None


@runtime_checkable
class LearningPredictor(Protocol):
    """A predictor that is fitted in each round, on the evaluations that the round may use."""

    def fitted(self, evaluated: Sequence[Evaluated]) -> RoundPredictor:
        """Return the round's predictor, None in it to abstain."""
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
