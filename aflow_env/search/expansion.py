# SPDX-License-Identifier: Apache-2.0
"""From a proposer's text to a program that is worth evaluating, or the reason why it is none.

A duplicate is a program that its parent already has as a child, or the parent itself (`duplicates=parent`), or one that
any earlier round of the tree came to (`duplicates=tree`). Earlier means a lower round, told or in flight, so of two
expansions in flight that come to one program the first is evaluated and the second is the duplicate, always.

A proposal that is rejected may be drawn again (`redraws`); AFlow draws until a modification is new.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aflow_env.errors import WorkflowError
from aflow_env.search.flight import Flight, first_to
from aflow_env.search.proposal import Proposer, Reply, State
from aflow_env.search.tree import Tree
from aflow_env.store.records import Node, Rejection
from aflow_env.workflow.edits import Edit, NoChange, parse_edit
from aflow_env.workflow.gate import check
from aflow_env.workflow.implement import Modification, parse_modification, to_program
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.suggestion import Suggestion, parse_suggestion

Implement = Callable[[Workflow, Edit | Suggestion, TaskSpec], Awaitable[Modification]]
"""Who turns an edit of a workflow, or a suggestion, into a program."""


class Duplicate(WorkflowError):
    """The change leads to a program that this tree, or this parent, already has."""


@dataclass(frozen=True)
class Place:
    """Where an expansion starts from: its round and parent, the tree, and the expansions begun before it.

    `digest` is set as soon as it is known which new program the expansion comes to, or that it comes to none, so that
    later ones can tell. `best` is the best node that was known then, `rival` the one to race against, if any, and by
    how much it may be better.
    """

    round: int
    parent: Node
    best: Node
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

    reply: Reply
    ended: Change | Rejection
    duplicate: bool = False


@dataclass(frozen=True)
class Changer:
    """Implements and gates what was proposed."""

    spec: TaskSpec
    action: Literal["edit", "code", "suggestion"]
    duplicates: Literal["parent", "tree"]
    implement: Implement

    async def __call__(self, place: Place, text: str) -> Change:
        """The change that a proposal comes to. Raises WorkflowError with the reason why it comes to none."""
        if self.action == "code":
            change = parse_modification(text)
        else:
            said = parse_suggestion(text, self.spec) if self.action == "suggestion" else parse_edit(text)
            change = await self.implement(place.parent.workflow, said, self.spec)
        workflow = to_program(change, self.spec)
        check(workflow, self.spec)
        if workflow.digest == place.parent.digest:
            raise Duplicate("the change leaves the workflow as it is")
        if self.duplicates == "parent":
            await self._new_here(place, workflow.digest)
        else:
            await self._new_anywhere(place, workflow.digest)
        place.digest.set_result(workflow.digest)
        return Change(workflow, change.modification)

    async def _new_here(self, place: Place, digest: str) -> None:
        siblings = [flight for flight in place.earlier if flight.parent == place.parent.round]
        if place.tree.seen(digest, place.parent.round) or await first_to(digest, siblings):
            raise Duplicate("the same change was tried from here before")

    async def _new_anywhere(self, place: Place, digest: str) -> None:
        first = place.tree.find(digest) or await first_to(digest, place.earlier)
        if first:
            raise Duplicate(f"round {first.round} came to the same workflow before")


async def draw(proposer: Proposer, change: Changer, place: Place, state: State, seed: int, redraws: int) -> Drawn:
    """Propose until something passes the gate, at most 1 + `redraws` times."""
    for number in range(redraws + 1):
        reply = await proposer.propose(state, seed=_draw_seed(seed, number))
        try:
            return Drawn(reply, await change(place, reply.text))
        except WorkflowError as error:
            said = " ".join(reply.text.split())[:120]
            rejection = Rejection(place.round, place.parent.round, said, reply.text, str(error))
            drawn = Drawn(reply, rejection, isinstance(error, (Duplicate, NoChange)))
    return drawn


def _draw_seed(seed: int, number: int) -> int:
    """The seed of a round's draw: the round's own, then others."""
    return int(np.random.default_rng([seed, number]).integers(2**31)) if number else seed
