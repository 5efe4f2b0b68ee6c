# SPDX-License-Identifier: Apache-2.0
"""Q(s, a): what a proposed edit of a workflow would score, asked before the edit is run."""

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


class QPredictor(Protocol):
    """Predict the scores of workflows that have not been run."""

    async def predict(self, state: State, edits: Sequence[Candidate]) -> list[float] | None:
        """Return one value in [0, 1] for each edit of the state's workflow, in order; None to abstain from all.

        A value depends on the state and on its own edit, never on the other edits or their order. A predictor that
        cannot answer raises; it never returns a made-up value.
        """
        ...
