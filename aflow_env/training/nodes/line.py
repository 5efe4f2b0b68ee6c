# SPDX-License-Identifier: Apache-2.0
"""This process's line to the owner of the run's files (owner.py): calls of the store and the ledger from afar.

One batch of calls is on its way at a time, and calls made meanwhile become the next batch. So the owner never has more
to do than one batch from each process, and a busy run needs few round trips. Calls of a process are answered in order.

Ray starts an owner that died again, and repeats the batch that was out. That changes nothing that the first time had
done: sessions, rounds, results and completions never change once written, a settled reservation is gone, and a
reservation has a ticket drawn here. Only events may be noted twice.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from secrets import randbits
from typing import Any, NamedTuple

import ray

from aflow_env.errors import InfrastructureError
from aflow_env.llm.budget import Ceiling, Spend

BATCH = 256
"""The most calls that go out together."""
PATIENCE = 300.0
"""Seconds to wait for a batch. Ray starts an owner again within a few."""


class Call(NamedTuple):
    """A method of a part of the run (`store`, `recording`, `cache`, `ledger`, `leases`), and its arguments."""

    part: str
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Failure:
    """The error of a call, to be raised at the caller."""

    error: Exception


@dataclass
class Line:
    """Belongs to the event loop that first uses it. `owner` is the handle of an `Owner` actor."""

    owner: Any
    _waiting: deque[tuple[Call, asyncio.Future[Any]]] = field(default_factory=deque)
    _sending: asyncio.Task[None] | None = None

    def ask(self, part: str, method: str, *arguments: Any) -> asyncio.Future[Any]:
        """Return the answer to come. The call goes out even if the caller is cancelled."""
        answer = asyncio.get_running_loop().create_future()
        plain = tuple(list(each) if isinstance(each, Iterator) else each for each in arguments)
        self._waiting.append((Call(part, method, plain), answer))
        self._sending = self._sending or asyncio.create_task(self._send())
        return answer

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                replies = await self._replies([call for call, _ in batch])
                for (_, answer), reply in zip(batch, replies, strict=True):
                    if answer.done():
                        continue
                    if isinstance(reply, Failure):
                        answer.set_exception(reply.error)
                    else:
                        answer.set_result(reply)
        finally:
            self._sending = None

    async def _replies(self, calls: list[Call]) -> Sequence[Any]:
        try:
            replies: Sequence[Any] = await asyncio.wait_for(self.owner.answer.remote(calls), PATIENCE)
            return replies
        except (ray.exceptions.RayError, TimeoutError) as error:
            said = " ".join(str(error).split())[:300] or f"no answer within {PATIENCE:.0f} s"
            lost = InfrastructureError(f"the owner of the run's store does not answer (docs/nodes.md): {said}")
            return [Failure(lost)] * len(calls)
        except Exception as error:  # a bug of ours, such as arguments that cannot be sent
            return [Failure(error)] * len(calls)


@dataclass(frozen=True)
class RemotePart:
    """A part of the run over a line: each method is a call to the owner, whose answer has to be awaited."""

    line: Line
    part: str

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *arguments: self.line.ask(self.part, method, *arguments)


@dataclass(frozen=True)
class RemoteLedger:
    """`llm.budget.Account` over a line."""

    line: Line

    async def reserve(self, worst: Spend, ceiling: Ceiling, seconds: float) -> int | None:
        """As Ledger. A caller that is cancelled gives its reservation back: nothing was sent for it."""
        ticket = randbits(62)
        try:
            answer: int | None = await self.line.ask("ledger", "reserve", worst, ceiling, seconds, ticket)
        except asyncio.CancelledError:
            self.line.ask("ledger", "settle", ticket, Spend())
            raise
        return answer

    def settle(self, ticket: int, actual: Spend | None) -> Awaitable[None]:
        """As Ledger."""
        return self.line.ask("ledger", "settle", ticket, actual)
