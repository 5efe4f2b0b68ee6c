# SPDX-License-Identifier: Apache-2.0
"""Record and replay: every completion is saved before it is used, asked for once, and found again by its full request.

live: ask, save nothing. record: look in the log, else ask and save. replay: look in the log only. `KeepingClient` saves
before the budget settles the call, `RecordingClient` looks in the log first. A process that is killed between the two
leaves a call that is saved and counted at its worst case. No call is paid for and lost.

A model that gave no answer after all retries (it refused, or wrote nothing) is saved too, for the clients that ask for
it, and raises the same error when it is found. Such an outcome of a workflow can therefore be replayed.

Identical requests in flight at the same time are one call. A completion from the log has its first cost. Runs may
share a second log. A completion found there is saved in the run's own log too, so that each run can be replayed alone.
Two runs that ask the same at the same time both pay.
"""

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aflow_env.errors import InfrastructureError
from aflow_env.llm.client import Completion, ErrorKind, LLMClient, LLMError, Request, Wrapper
from aflow_env.soon import Soon, soon

Mode = Literal["live", "record", "replay"]


class CompletionLog(Protocol):
    """The store of completions. `put` returns once the completion is on disk. Of two under one key either may stay."""

    def get(self, key: str) -> Soon[Completion | None]: ...
    def put(self, key: str, request: Request, completion: Completion) -> Soon[None]: ...


class ReplayMiss(InfrastructureError):
    """A replayed run asks for something that was not recorded."""


@dataclass
class _Flight:
    task: asyncio.Task[Completion]
    waiting: int = 0


@dataclass(eq=False)
class KeepingClient(Wrapper):
    """Saves each completion of `inner` in a log before it is used, then in the log that runs share."""

    log: CompletionLog
    scope: str = ""
    shared: CompletionLog | None = None

    async def complete(self, request: Request) -> Completion:
        completion = await self.inner.complete(request)
        for log in (self.log, self.shared):
            if log is not None:
                await soon(log.put(key_of(request, self.scope), request, completion))
        return completion


@dataclass(eq=False)
class RecordingClient:
    """Looks in a log before it asks `inner` (None in replay), which saves its answers there (KeepingClient).

    `scope` is all that decides a completion beside the request. In record mode `shared` is asked after the log.
    `saves_silence`: a request that the model did not answer is saved, too.
    """

    inner: LLMClient | None
    log: CompletionLog | None
    mode: Mode
    scope: str = ""
    shared: CompletionLog | None = None
    saves_silence: bool = False
    _flights: dict[str, _Flight] = field(default_factory=dict, init=False)

    async def complete(self, request: Request) -> Completion:
        """As LLMClient. Raises ReplayMiss, naming the key, when a replay asks for a completion that was not recorded.

        The last request of a flight that gives up cancels it, and waits for its end.
        """
        key = key_of(request, self.scope)
        if key not in self._flights:
            self._flights[key] = _Flight(asyncio.create_task(self._find(key, request)))
            self._flights[key].task.add_done_callback(lambda task: self._landed(key, task))
        flight = self._flights[key]
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                del self._flights[key]  # the next request gets a call of its own
                flight.task.cancel()
                await asyncio.wait([flight.task])

    async def aclose(self) -> None:
        if self.inner is not None:
            await self.inner.aclose()

    async def _find(self, key: str, request: Request) -> Completion:
        """Look in the logs, then ask. All is one flight, or else two requests could both find nothing and pay."""
        if self.log is not None and self.mode != "live":
            if (kept := await soon(self.log.get(key))) is not None:
                return _answered(kept)
            shared = self.shared if self.mode == "record" else None
            if shared is not None and (kept := await soon(shared.get(key))) is not None:
                await soon(self.log.put(key, request, kept))
                return kept
        if self.mode == "replay" or self.inner is None:
            begin = request.messages[-1].content[:80]
            raise ReplayMiss(
                f"replay: no completion is recorded under {key} (model {request.model!r}, sample {request.sample}, "
                f"prompt {begin!r}...). The run asks something new: was its config or the code changed? "
                "mode=record asks the provider again"
            )
        try:
            return await self.inner.complete(request)
        except LLMError as error:
            if not (error.unanswered and self.saves_silence and self.log is not None):
                raise
            silence = error.billed or Completion(text="", model=request.model, input_tokens=0, output_tokens=0)
            error.billed = silence.model_copy(update={"text": "", "stop_reason": error.kind})
            await soon(self.log.put(key, request, error.billed))
            raise

    def _landed(self, key: str, task: asyncio.Task[Completion]) -> None:
        if key in self._flights and self._flights[key].task is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # mark it as seen: all waiting requests may have given up


SILENT: tuple[ErrorKind, ...] = ("refused", "no_text", "malformed")


def _answered(kept: Completion) -> Completion:
    for kind in SILENT:
        if kept.stop_reason == kind:
            raise LLMError(kind, "the model gave no answer", bill="told", billed=kept, request_id=kept.request_id)
    return kept


def key_of(request: Request, scope: str) -> str:
    """Return 64 hex digits: the log's key of a request in a scope."""
    return hashlib.sha256(f"{scope}\n{request.key}".encode()).hexdigest()
