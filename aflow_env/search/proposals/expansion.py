# SPDX-License-Identifier: Apache-2.0
"""From a proposer's text to a new program, or the reason why it is rejected.

A duplicate is the parent's program, or that of an earlier child of the parent. Of two expansions in flight with the
same parent and program the lower round is evaluated, and the other is the duplicate. A rejected proposal may be drawn
again (`redraws`); AFlow draws until a modification is new.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aflow_env.errors import WorkflowError
from aflow_env.evaluation.evaluator import OutsideTable
from aflow_env.search.flight import Flight, first_to
from aflow_env.search.proposals.proposal import Proposal, Proposer, State
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node, Rejection
from aflow_env.workflow.edits import Edit, NoChange, parse_edit
from aflow_env.workflow.gate import check
from aflow_env.workflow.implement import Modification, parse_modification, to_program
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.suggestion import Suggestion, parse_suggestion

Implement = Callable[[Workflow, Edit | Suggestion, TaskSpec], Awaitable[Modification]]
"""Turns an edit of a workflow, or a suggestion, into a program."""
Gate = Callable[[Workflow, TaskSpec], None]
"""Raises WorkflowError unless the program may be evaluated."""


class Duplicate(WorkflowError):
    """The program is the parent's, or that of an earlier child of it."""


@dataclass(frozen=True)
class Place:
    """The start of an expansion: its round and parent, the tree, and the flights that began before it.

    `digest` is set to that of the new program, or None for a rejection, as soon as it is known, so that later flights
    can compare. `rival` is the node to race against, with the slack of the race.
    """

    round: int
    parent: Node
    tree: Tree
    earlier: tuple[Flight, ...]
    digest: asyncio.Future[str | None]
    rival: tuple[Node, float] | None = None


@dataclass(frozen=True)
class Change:
    """A program that passed the gate, and AFlow's one-sentence "modification"."""

    workflow: Workflow
    modification: str


@dataclass(frozen=True)
class Drawn:
    """The last proposal of a round, and its result. `duplicate` marks the rejection of a well-formed edit."""

    reply: Proposal
    ended: Change | Rejection
    duplicate: bool = False


@dataclass(frozen=True)
class Changer:
    """Implements and gates a proposal."""

    spec: TaskSpec
    action: Literal["edit", "code", "suggestion"]
    implement: Implement
    gate: Gate = check

    async def __call__(self, parent: Workflow, text: str) -> Change:
        """Return the change of a proposal. Raises WorkflowError with the reason of a rejection."""
        if self.action == "code":
            change = parse_modification(text)
        else:
            said = parse_suggestion(text, self.spec) if self.action == "suggestion" else parse_edit(text)
            change = await self.implement(parent, said, self.spec)
        workflow = to_program(change, self.spec)
        self.gate(workflow, self.spec)
        return Change(workflow, change.modification)


async def _new(place: Place, change: Change) -> Change:
    """Return the change, and set the place's digest. Raises Duplicate unless its program is new at this place."""
    digest = change.workflow.digest
    if digest == place.parent.digest:
        raise Duplicate("the change leaves the workflow as it is")
    siblings = [flight for flight in place.earlier if flight.parent == place.parent.round]
    if place.tree.seen(place.parent.round, digest) or await first_to(digest, siblings):
        raise Duplicate("the same change was tried from here before")
    place.digest.set_result(digest)
    return change


async def draw(proposer: Proposer, change: Changer, place: Place, state: State, seed: int, redraws: int) -> Drawn:
    """Propose until a new program passes the gate, at most 1 + `redraws` times."""
    for number in range(redraws + 1):
        redraw = int(np.random.default_rng([seed, number]).integers(2**31)) if number else seed
        reply = await proposer.propose(state, seed=redraw)
        try:
            return Drawn(reply, await _new(place, await change(place.parent.workflow, reply.text)))
        except WorkflowError as error:
            rejection = Rejection(place.round, place.parent.round, in_short(reply.text), reply.text, str(error))
            drawn = Drawn(reply, rejection, isinstance(error, (Duplicate, NoChange, OutsideTable)))
    return drawn


def in_short(text: str) -> str:
    """Return the first words of a rejected proposal, as its modification."""
    return " ".join(text.split())[:120]
