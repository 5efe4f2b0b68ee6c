# SPDX-License-Identifier: Apache-2.0
"""Q(s, a): the predicted score of a proposed edit, asked before the edit is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aflow_env.search.proposal import State
from aflow_env.workflow.program import Workflow


@dataclass(frozen=True)
class Candidate:
    """A proposed edit that passed the gate: the proposer's text, and the workflow that it makes."""

    text: str
    workflow: Workflow


@dataclass(frozen=True)
class ActionValue:
    """Q(s, a) of one candidate, in [0, 1].

    `mass` is the probability that the policy put on digits at all; 1 where Q is not read off digits. `payload` is for
    the predictor alone (the tokens that a trainer needs).
    """

    q: float
    mass: float = 1.0
    payload: object = None


class QPredictor(Protocol):
    """Predict the scores of workflows that have not been run."""

    async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue] | None:
        """Return one value for each edit of the state's workflow, in order; None to abstain from all.

        A value depends on the state and on its own edit, never on the other edits or their order. A predictor that
        cannot answer raises; it never returns a made-up value.
        """
        ...
