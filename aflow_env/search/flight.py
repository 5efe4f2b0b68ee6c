# SPDX-License-Identifier: Apache-2.0
"""Expansions in flight: up to k at a time, and yet a tree that no order of completion can change.

    round r is selected once rounds <= r - k are recorded. It sees those, and rounds r - k + 1 .. r - 1 as visits of
    their parents without a score (virtual visits). Rounds are recorded in their order, on disk first.

So n_i in UCB_i = mean_i + c_ucb * sqrt(ln N / n_i) counts what is in flight: a node that is being expanded loses
attraction until the result is there (virtual loss; Chaslot et al. 2008, here without a made-up score). k = 1 is one
round after another, as in AFlow. The price of repeatability: a quick round waits until slower ones before it are
recorded, so a slow round blocks up to k - 1 places.

The store holds a prefix of the rounds at any instant. A kill cuts off rounds that were not recorded; they are played
again with the same draws, and their evaluations and recorded completions are found, not paid again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aflow_env.search.session import Turn
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node, Rejection


@dataclass(frozen=True)
class Flight:
    """An expansion on its way: `turn` will be its Turn, or what is stored of it.

    `digest` will be that of the program that it came to, None where it came to none.
    """

    round: int
    parent: int
    digest: asyncio.Future[str | None]
    turn: asyncio.Future[Turn] | asyncio.Future[Node | Rejection]


def restore(tree: Tree, stored: Sequence[Node | Rejection], k: int) -> list[Flight]:
    """Record stored rounds in a fresh tree, and put the last k - 1 back in flight: the next round then sees the same as
    in a session that was not cut.

    A history that no such schedule made (imported: it has gaps, or parents within the last k - 1 rounds) is recorded
    whole.
    """
    cut = max(1, len(stored) - (k - 1))
    settled, recent = stored[:cut], stored[cut:]
    have = {each.round for each in settled if isinstance(each, Node)}
    ours = all(each.parent in have for each in recent) and [each.round for each in stored] == list(
        range(1, len(stored) + 1)
    )
    for each in settled if ours else stored:
        tree.record(each)
    return [_landed(tree, each) for each in recent] if ours else []


def _landed(tree: Tree, ended: Node | Rejection) -> Flight:
    """A stored round as an expansion that has just come to its end."""
    assert ended.parent is not None
    loop = asyncio.get_running_loop()
    digest: asyncio.Future[str | None] = loop.create_future()
    digest.set_result(ended.digest if isinstance(ended, Node) else None)
    turn: asyncio.Future[Node | Rejection] = loop.create_future()
    turn.set_result(ended)
    return Flight(tree.begin(ended.parent), ended.parent, digest, turn)


async def first_to(digest: str, earlier: Iterable[Flight]) -> Flight | None:
    """The earliest of these expansions that comes to this program, once all of them have come to one or to none."""
    for flight in earlier:
        if await asyncio.shield(flight.digest) == digest:
            return flight
    return None


async def cancel_all(tree: Tree, flights: Sequence[Flight], cut: bool) -> None:
    """End expansions that will not be recorded; with `cut` at once, else as soon as they are through."""
    turns = [flight.turn for flight in flights]
    if cut:
        for turn in turns:
            turn.cancel()
    await asyncio.gather(*turns, return_exceptions=True)
    for flight in flights:
        tree.cancel(flight.round)
