# SPDX-License-Identifier: Apache-2.0
"""`tree=group`: the sessions of one search problem grow one tree together.

verl starts the `rollout.n` sessions of a prompt as coroutines of one AgentLoopWorker (whatever `agent.num_workers` is),
so the first that arrives plays one search for all of them: n times the rounds, n times the expansions in flight
(`search/flight.py`), n times what `stop.usd` and `stop.tokens` leave a session, and session i takes every n-th round as
its own turns. Which session a round belongs to, and what it saw, follow from its number alone. Not repeatable is what
the rollout server samples, as with `tree=session`.

A failure of the search is a failure of all its sessions.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from aflow_env.config import AflowConfig
from aflow_env.search.rounds import Search
from aflow_env.search.session import SearchProblem, Session

Play = Callable[[], Coroutine[Any, Any, Session]]


@dataclass
class _Group:
    whole: asyncio.Task[Session]
    left: int


@dataclass
class Groups:
    """The searches that sessions of this process share, by name."""

    _playing: dict[str, _Group] = field(default_factory=dict)

    async def part(self, name: str, number: int, size: int, play: Play) -> Session:
        """The part of session `number` of `size`; `play` is called by the first of them to come. Raises as it does.

        Every session must come for its part once; the search is forgotten when all have.
        """
        if name not in self._playing:
            self._playing[name] = _Group(asyncio.ensure_future(play()), size)
        group = self._playing[name]
        try:
            # shielded: the end of one session is not the end of the others
            whole = await asyncio.shield(group.whole)
        finally:
            group.left -= 1
            if group.left == 0:
                self._playing.pop(name, None)
        turns = [turn for turn in whole.turns if (turn.ended.round - 2) % size == number]
        return Session(whole.tree, turns, whole.stopped, (number, size))


async def play_together(search: Search, size: int, problem: SearchProblem) -> Session:
    """The search that `size` sessions play as one."""
    return await replace(search, config=together(search.config, size)).play(problem)


def together(config: AflowConfig, size: int) -> AflowConfig:
    """The config of `size` sessions as one: what a session may use is multiplied.

    What the clock shows and what the tree has come to (`stop.seconds`, `stop.score`, `convergence`) is one for all.
    """
    allowed = {key: value for key in ("usd", "tokens") if (value := getattr(config.stop, key)) is not None}
    stop = config.stop.model_copy(update={key: size * value for key, value in allowed.items()})
    many = {"rounds": size * config.rounds, "in_flight": size * config.in_flight, "stop": stop}
    return config.model_copy(update=many)
