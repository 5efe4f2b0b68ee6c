# SPDX-License-Identifier: Apache-2.0
"""Expansions in flight: up to k at a time, with a tree that does not depend on the order in which they end.

    round r is selected once rounds <= r - k are recorded. It sees their results, and rounds r - k + 1 .. r - 1 as
    virtual visits of their parents, without a score. Rounds are recorded in order, on disk first.

So n_i in UCB_i = mean_i + c_ucb * sqrt(ln N / n_i) counts expansions in flight, and the UCB of a node is lower until
they end (virtual loss; Chaslot et al. 2008, here without a made-up score). k = 1 is one round after another, as in
AFlow. A slow round delays up to k - 1 later ones, which wait to be recorded.

The store always has the first rounds, without gaps. After a kill the rounds that were not recorded are played again
with the same draws. Their stored evaluations and completions are not paid again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aflow_env.search.session import Turn
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node, Rejection


@dataclass(frozen=True)
class Flight:
    """An expansion in flight. `turn` will be its Turn, or its stored result.

    `digest` will be the digest of its program, None when its proposal is rejected.
    """

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


async def first_to(digest: str, earlier: Iterable[Flight]) -> Flight | None:
    """Return the earliest of these expansions with this program. Waits for the digests of all before it."""
    for flight in earlier:
        if await asyncio.shield(flight.digest) == digest:
            return flight
    return None


async def cancel_all(tree: Tree, flights: Sequence[Flight], cut: bool) -> None:
    """Forget expansions: with `cut` by cancelling their tasks, else after their tasks have ended."""
    turns = [flight.turn for flight in flights]
    if cut:
        for turn in turns:
            turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)
    for flight in flights:
        tree.cancel(flight.round)
