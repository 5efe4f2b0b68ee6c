# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker: when a provider fails again and again, everybody waits and one call at a time tries.

A search then pauses, with one line on the logger, instead of burning its rounds on a provider that is down. That is for
servers that have answered before: an address where no connection was ever made is most likely a wrong one, or a server
that nobody started, so after a few tries (retry.py) every call fails at once, and says what to check.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aflow_env.llm.client import Completion, ErrorKind, LLMError

log = logging.getLogger(__name__)

TROUBLE: frozenset[ErrorKind] = frozenset(
    ("rate_limited", "overloaded", "server_error", "timeout", "connection", "malformed")
)
LONGEST_PAUSE = 600.0
PATIENCE = 10.0
"""Seconds for which a server that never answered is tried."""


class Breaker:
    """Opens after `failures` in a row for `pause` seconds, doubled (up to 10 minutes) as long as the trial fails."""

    def __init__(self, name: str, failures: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._limit = failures
        self._first_pause = pause
        self._clock = clock
        self._answered = False
        self._unreached: LLMError | None = None
        self._tried_since = clock()
        self._in_a_row = 0
        self._pause = 0.0  # 0: closed
        self._open_until = 0.0
        self._opened_at = 0.0
        self._turn = asyncio.Lock()

    async def call(self, send: Callable[[], Awaitable[Completion]]) -> Completion:
        """Send once the provider is thought to be up; while it is down, calls wait and try one after another.

        Raises as `send`, and LLMError (unreachable) for a server that has never answered.
        """
        if self._unreached and self._clock() - self._tried_since > PATIENCE:
            raise self._unreached
        if self._pause:
            async with self._turn:
                if self._pause:
                    await asyncio.sleep(max(0.0, self._open_until - self._clock()))
                    return await self._judged(send, trial=True)
        return await self._judged(send)

    async def _judged(self, send: Callable[[], Awaitable[Completion]], trial: bool = False) -> Completion:
        try:
            completion = await send()
        except LLMError as error:
            raise self._failed(trial, error) from None
        self._succeeded()
        return completion

    def _succeeded(self) -> None:
        if self._pause:
            log.warning("%s answers again after %.0f s", self._name, self._clock() - self._opened_at)
        self._answered, self._unreached, self._in_a_row, self._pause = True, None, 0, 0.0

    def _failed(self, trial: bool, error: LLMError) -> LLMError:
        """Count a reason that speaks for the provider's health; any other shows that it is alive.

        Return the error to raise: `unreachable` where no connection was ever made, else the same.
        """
        if error.kind == "connection" and error.bill == "none" and not self._answered:
            if self._unreached is None:
                self._tried_since = self._clock()
            self._unreached = LLMError("unreachable", f"{self._name} has never answered ({error})")
            return self._unreached
        if error.kind not in TROUBLE:
            self._succeeded()
            return error
        self._answered, self._unreached = True, None
        self._in_a_row += 1
        if trial:
            self._open(min(2 * self._pause, LONGEST_PAUSE), error)
        elif not self._pause and self._in_a_row >= self._limit:
            self._opened_at = self._clock()
            self._open(self._first_pause, error)
        return error

    def _open(self, pause: float, error: LLMError) -> None:
        self._pause = max(pause, min(error.retry_after or 0.0, LONGEST_PAUSE))
        self._open_until = self._clock() + self._pause
        log.warning(
            "%s has failed %d times in a row: all its calls wait %.0f s, then one tries (last: %s)",
            self._name, self._in_a_row, self._pause, error,
        )  # fmt: skip
