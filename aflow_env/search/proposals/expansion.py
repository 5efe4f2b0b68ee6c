# SPDX-License-Identifier: Apache-2.0
"""From a proposer's text to a program that is worth evaluating, or the reason why it is none.

A duplicate is a program that its parent already has as a child, or the parent itself. Of two expansions of a node in
flight that come to one program the lower round is always evaluated, and the other is the duplicate.

A proposal that is rejected may be drawn again (`redraws`); AFlow draws until a modification is new.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aflow_env.errors import WorkflowError
from aflow_env.evaluation.lookup import OutsideTable
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
"""Who turns an edit of a workflow, or a suggestion, into a program."""
Gate = Callable[[Workflow, TaskSpec], None]
"""Raises WorkflowError unless the program may be evaluated."""


class Duplicate(WorkflowError):
    """The change leads to a program that this parent already has, or is."""


@dataclass(frozen=True)
class Place:
    """Where an expansion starts from: its round and parent, the tree, and the expansions begun before it.

    `digest` is set as soon as it is known which new program the expansion comes to, or that it comes to none, so that
    later ones can tell. `rival` is the node to race against, if any, and by how much it may be better.
    """

    round: int
    parent: Node
    tree: Tree
    earlier: tuple[Flight, ...]
    digest: asyncio.Future[str | None]
    rival: tuple[Node, float] | None = None


@dataclass(frozen=True)
class Change:
    """A program that is worth evaluating, and AFlow's one-sentence "modification"."""

    workflow: Workflow
    modification: str


@dataclass(frozen=True)
class Drawn:
    """The last proposal of a round, and what it came to; `duplicate` marks the rejection of a well-formed edit."""

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
        """The change that a proposal comes to. Raises WorkflowError with the reason why it comes to none."""
        if self.action == "code":
            change = parse_modification(text)
        else:
            said = parse_suggestion(text, self.spec) if self.action == "suggestion" else parse_edit(text)
            change = await self.implement(parent, said, self.spec)
        workflow = to_program(change, self.spec)
        self.gate(workflow, self.spec)
        return Change(workflow, change.modification)


async def _new(place: Place, change: Change) -> Change:
    """The change, where its program is new at this place. Raises Duplicate where it is not."""
    digest = change.workflow.digest
    if digest == place.parent.digest:
        raise Duplicate("the change leaves the workflow as it is")
    siblings = [flight for flight in place.earlier if flight.parent == place.parent.round]
    if place.tree.seen(place.parent.round, digest) or await first_to(digest, siblings):
        raise Duplicate("the same change was tried from here before")
    place.digest.set_result(digest)
    return change


async def draw(proposer: Proposer, change: Changer, place: Place, state: State, seed: int, redraws: int) -> Drawn:
    """Propose until something passes the gate, at most 1 + `redraws` times."""
    for number in range(redraws + 1):
        reply = await proposer.propose(state, seed=_draw_seed(seed, number))
        try:
            return Drawn(reply, await _new(place, await change(place.parent.workflow, reply.text)))
        except WorkflowError as error:
            rejection = Rejection(place.round, place.parent.round, in_short(reply.text), reply.text, str(error))
            drawn = Drawn(reply, rejection, isinstance(error, (Duplicate, NoChange, OutsideTable)))
    return drawn


def in_short(text: str) -> str:
    """The modification that stands for a proposal that came to none: the first words of its text."""
    return " ".join(text.split())[:120]


def _draw_seed(seed: int, number: int) -> int:
    """The seed of a round's draw: the round's own, then others."""
    return int(np.random.default_rng([seed, number]).integers(2**31)) if number else seed
