# SPDX-License-Identifier: Apache-2.0
"""Expansions: from a proposer's text to a new program, or the reason why it is rejected, up to k of them in flight.

The tree does not depend on the order in which they end:

    round r is selected once rounds <= r - k are recorded. It sees their results, and rounds r - k + 1 .. r - 1 as
    virtual visits of their parents, without a score. Rounds are recorded in order, on disk first.

So n_i in UCB_i = mean_i + c_ucb * sqrt(ln N / n_i) counts expansions in flight, and the UCB of a node is lower until
they end (virtual loss; Chaslot et al. 2008, here without a made-up score). k = 1 is one round after another, as in
AFlow. A slow round delays up to k - 1 later ones, which wait to be recorded.

The store always has the first rounds, without gaps. After a kill the rounds that were not recorded are played again
with the same draws. Their stored evaluations and completions are not paid again.

A duplicate is the parent's program, or that of an earlier child of the parent. Of two expansions in flight with the
same parent and program the lower round is evaluated, and the other is the duplicate. A rejected proposal may be drawn
again (`redraws`); AFlow draws until a modification is new.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError, WorkflowError
from aflow_env.evaluation.evaluator import OutsideTable
from aflow_env.llm.client import LLMClient, Message, Request
from aflow_env.search.proposals.proposal import Proposal, Proposer, State
from aflow_env.search.session import Turn
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node, Rejection
from aflow_env.workflow.edits import Edit, NoChange, describe, parse_edit
from aflow_env.workflow.gate import Gate, check
from aflow_env.workflow.implement import (
    Change,
    Suggestion,
    implement_rule,
    implementer_prompt,
    parse_change,
    parse_suggestion,
)
from aflow_env.workflow.program import TaskSpec, Workflow

PROGRAM_FIELDS = ("modification", "graph", "prompt")
"""The fields of an implementer's reply, as tags or, with structured=auto, as JSON."""


class Duplicate(WorkflowError):
    """The program is the parent's, or that of an earlier child of it."""


@dataclass(frozen=True)
class Flight:
    """An expansion in flight. `digest` will be its program's (None: rejected), `turn` its Turn or stored result."""

    round: int
    parent: int
    digest: asyncio.Future[str | None]
    turn: asyncio.Future[Turn] | asyncio.Future[Node | Rejection]


def restore(tree: Tree, stored: Sequence[Node | Rejection], k: int) -> list[Flight]:
    """Record stored rounds in a fresh tree, and return the last k - 1 as flights, which the next round must not see.

    An imported history may have gaps, or parents within the last k - 1 rounds. All of it is recorded.
    """
    cut = max(1, len(stored) - (k - 1))
    settled, recent = stored[:cut], stored[cut:]
    nodes = {each.round for each in settled if isinstance(each, Node)}
    without_gaps = all(each.round == number for number, each in enumerate(stored, start=1))
    ours = without_gaps and all(each.parent in nodes for each in recent)
    for each in settled if ours else stored:
        tree.record(each)
    return [_landed(tree, each) for each in recent] if ours else []


def _landed(tree: Tree, ended: Node | Rejection) -> Flight:
    """Return a stored round as an expansion that has just ended."""
    assert ended.parent is not None
    loop = asyncio.get_running_loop()
    digest: asyncio.Future[str | None] = loop.create_future()
    digest.set_result(ended.digest if isinstance(ended, Node) else None)
    turn: asyncio.Future[Node | Rejection] = loop.create_future()
    turn.set_result(ended)
    return Flight(tree.begin(ended.parent), ended.parent, digest, turn)


async def cancel_all(tree: Tree, flights: Sequence[Flight], cut: bool) -> None:
    """Forget expansions: with `cut` by cancelling their tasks, else after their tasks have ended."""
    turns = [flight.turn for flight in flights]
    if cut:
        for turn in turns:
            turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)
    for flight in flights:
        tree.cancel(flight.round)


@dataclass(frozen=True)
class Place:
    """The start of an expansion: its round and parent, the tree, and the flights that began before it.

    `digest` is set to that of the new program, or None for a rejection, as soon as it is known, so that later flights
    can compare.
    """

    round: int
    parent: Node
    tree: Tree
    earlier: tuple[Flight, ...]
    digest: asyncio.Future[str | None]


@dataclass(frozen=True)
class Changer:
    """Implements and gates a proposal: by the deterministic rule, or by an LLM that reads the edit as a sentence."""

    config: AflowConfig
    spec: TaskSpec
    implementer: LLMClient | None
    gate: Gate = check

    async def __call__(self, parent: Workflow, text: str) -> Change:
        """Return the change of a proposal. Raises WorkflowError with the reason of a rejection."""
        if self.config.form == "code":
            change = parse_change(text, self.spec)
        elif self.config.form == "suggestion":
            change = await self._implement(parent, parse_suggestion(text, self.spec))
        else:
            change = await self._implement(parent, parse_edit(text))
        self.gate(change.workflow, self.spec)
        return change

    async def _implement(self, workflow: Workflow, edit: Edit | Suggestion) -> Change:
        llm = self.config.implementer.llm
        if self.config.implementer.kind == "rule" or self.implementer is None or llm is None:
            if isinstance(edit, Suggestion):
                raise ConfigError("proposer=guided with implementer=rule: a suggestion says too little for a rule")
            return implement_rule(workflow, edit, self.spec)
        sentence = edit.sentence() if isinstance(edit, Suggestion) else describe(edit)
        request = Request(
            messages=(Message(role="user", content=implementer_prompt(workflow, sentence, self.spec)),),
            model=llm.model,
            temperature=llm.temperature,
            max_tokens=llm.max_tokens,
            fields=PROGRAM_FIELDS if llm.structured == "auto" else (),
        )
        change = parse_change((await self.implementer.complete(request)).text, self.spec)
        return change if change.modification else replace(change, modification=sentence)


async def _new(place: Place, change: Change) -> Change:
    """Return the change, and set the place's digest. Raises Duplicate unless its program is new at this place."""
    digest = change.workflow.digest
    if digest == place.parent.digest:
        raise Duplicate("the change leaves the workflow as it is")
    tried = place.tree.seen(place.parent.round, digest)
    for flight in place.earlier:
        tried = tried or (flight.parent == place.parent.round and await asyncio.shield(flight.digest) == digest)
    if tried:
        raise Duplicate("the same change was tried from here before")
    place.digest.set_result(digest)
    return change


async def draw(
    proposer: Proposer, change: Changer, place: Place, state: State, seed: int, redraws: int
) -> tuple[Proposal, Change | Rejection, bool]:
    """Propose until a new program passes the gate, at most 1 + `redraws` times.

    Returns the last proposal, its result, and whether that is the rejection of a well-formed edit.
    """
    for number in range(redraws + 1):
        redraw = int(np.random.default_rng([seed, number]).integers(2**31)) if number else seed
        reply = await proposer.propose(state, seed=redraw)
        try:
            return reply, await _new(place, await change(place.parent.workflow, reply.text)), False
        except WorkflowError as error:
            rejection = Rejection(place.round, place.parent.round, in_short(reply.text), reply.text, str(error))
            duplicate = isinstance(error, (Duplicate, NoChange, OutsideTable))
    return reply, rejection, duplicate


def in_short(text: str) -> str:
    """Return the first words of a rejected proposal, as its modification."""
    return " ".join(text.split())[:120]
