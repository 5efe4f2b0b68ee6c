# SPDX-License-Identifier: Apache-2.0
"""This process's line to the owner of the run's files (owner.py): the store and the ledger, as seen from afar.

One batch of questions is on its way at a time; what is asked meanwhile becomes the next batch. So the owner never has
more to do than one batch from each process (back-pressure: callers wait, nothing piles up there), and the busier a run
is, the more questions share a round trip. Questions of a process are answered in the order asked.

An owner that dies is started again by Ray, which repeats the batch that was out. That changes nothing that the first
time had done: sessions, rounds, results and completions are never changed once written, a settled reservation is gone,
and a reservation is asked for under a ticket drawn here. Only events may be noted twice.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from secrets import randbits
from typing import Any, NamedTuple

import ray

from aflow_env.errors import InfrastructureError
from aflow_env.evaluation.results import ProblemResult
from aflow_env.llm.client import Completion, Request
from aflow_env.llm.ledger import Ceiling, Spend
from aflow_env.store.experience import Entry
from aflow_env.store.node_rows import JSON, RoundEnd
from aflow_env.store.proposal_rows import DrawnProposal, Evaluated
from aflow_env.store.store import SessionKey, StoredSession

BATCH = 256
"""Questions that go out together at most."""
PATIENCE = 300.0
"""Seconds to wait for a batch; an owner is started again within a few."""


class Call(NamedTuple):
    """A method of a part of the run (`store`, `recording`, `cache`, `ledger`, `leases`), and its arguments."""

    part: str
    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Failure:
    """What the call raised, to be raised where it was asked."""

    error: Exception


@dataclass
class Line:
    """Belongs to the event loop that first uses it. `owner` is the handle of an `Owner` actor."""

    owner: Any
    _waiting: deque[tuple[Call, asyncio.Future[Any]]] = field(default_factory=deque)
    _sending: asyncio.Task[None] | None = None

    def ask(self, part: str, method: str, *arguments: Any) -> asyncio.Future[Any]:
        """The answer to come. The question goes out even if whoever asked is cancelled."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((Call(part, method, arguments), answer))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
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
        except Exception as error:  # a bug of ours, say arguments that cannot be sent: raised where it was asked
            return [Failure(error)] * len(calls)


@dataclass(frozen=True)
class RemoteStore:
    """`search.shared.RunStore` over a line; `part` is `store`, `recording` or `cache`."""

    line: Line
    part: str = "store"

    def open_session(self, key: SessionKey, task: str) -> Awaitable[StoredSession]:
        """As Store."""
        return self.line.ask(self.part, "open_session", key, task)

    def record(self, key: SessionKey, ended: RoundEnd, payload: JSON = None) -> Awaitable[None]:
        """As Store."""
        return self.line.ask(self.part, "record", key, ended, payload)

    def save_proposals(self, key: SessionKey, proposals: Sequence[DrawnProposal]) -> Awaitable[None]:
        """As Store."""
        return self.line.ask(self.part, "save_proposals", key, list(proposals))

    def evaluated(self, task: str, before: int) -> Awaitable[list[Evaluated]]:
        """As Store."""
        return self.line.ask(self.part, "evaluated", task, before)

    def set_state(self, key: SessionKey, state: JSON) -> Awaitable[None]:
        """As Store."""
        return self.line.ask(self.part, "set_state", key, state)

    def experience(
        self, task: str, digest: str, key: SessionKey, limit: int, unseen: int | None = None
    ) -> Awaitable[list[Entry]]:
        """As Store."""
        return self.line.ask(self.part, "experience", task, digest, key, limit, unseen)

    def event(self, kind: str, data: JSON, key: SessionKey | None = None) -> Awaitable[None]:
        """As Store."""
        return self.line.ask(self.part, "event", kind, data, key)

    def get_many(
        self, digest: str, executor_key: str, keys: Iterable[tuple[str, int]]
    ) -> Awaitable[dict[tuple[str, int], ProblemResult]]:
        """As Store."""
        return self.line.ask(self.part, "get_many", digest, executor_key, list(keys))

    def put_many(self, digest: str, executor_key: str, results: Sequence[ProblemResult]) -> Awaitable[None]:
        """As Store."""
        return self.line.ask(self.part, "put_many", digest, executor_key, list(results))

    def get(self, key: str) -> Awaitable[Completion | None]:
        """As Store."""
        return self.line.ask(self.part, "get", key)

    def put(self, key: str, request: Request, completion: Completion) -> Awaitable[None]:
        """As Store."""
        return self.line.ask(self.part, "put", key, request, completion)


@dataclass(frozen=True)
class RemoteLedger:
    """`llm.budget.Account` over a line."""

    line: Line

    async def reserve(self, worst: Spend, ceiling: Ceiling, seconds: float) -> int | None:
        """As Ledger; a reservation whose asker is cancelled is handed back: nothing was sent for it."""
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
