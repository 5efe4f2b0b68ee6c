# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker: when a provider fails again and again, everybody waits and one call at a time tries.

A search then pauses, with one line on the logger, instead of burning its rounds on a provider that is down. That is for
servers that have answered before: an address where no connection was ever made is most likely a wrong one, or a server
that nobody started, so after a few tries (retry.py) every call fails at once, and says what to check.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from aflow_env.llm.client import ErrorKind, LLMError

log = logging.getLogger(__name__)

TROUBLE: frozenset[ErrorKind] = frozenset(
    ("rate_limited", "overloaded", "server_error", "timeout", "connection", "malformed")
)
LONGEST_PAUSE = 600.0
PATIENCE = 10.0
"""Seconds for which a server that never answered is tried."""


class Breaker:
    """Opens after `failures` in a row, for `pause` seconds, doubled (up to 10 minutes) as long as the trial call fails.

    `admit` before a call returns whether it is the trial call; then exactly one of `succeeded`, `failed`, `abandoned`.
    """

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
        self._trying = False
        self._changed = asyncio.Event()

    async def admit(self) -> bool:
        """Wait until a call may go out; True: it is the one that tries a provider that was down.

        Raises LLMError (unreachable) once a server that has never answered was tried for long enough.
        """
        if self._unreached and self._clock() - self._tried_since > PATIENCE:
            raise self._unreached
        while self._pause:
            wait = self._open_until - self._clock()
            if wait > 0:
                await asyncio.sleep(wait)
            elif self._trying:
                await self._changed.wait()
            else:
                self._trying = True
                return True
        return False

    def succeeded(self) -> None:
        """The provider answered: all calls go on."""
        self._answered, self._unreached = True, None
        if self._pause:
            log.warning("%s answers again after %.0f s", self._name, self._clock() - self._opened_at)
        self._in_a_row, self._pause = 0, 0.0
        self._wake()

    def failed(self, trial: bool, error: LLMError) -> LLMError:
        """The call failed: a reason that speaks for the provider's health counts, any other shows that it is alive.

        Return the error to raise: `unreachable` where no connection was ever made, else the same.
        """
        if error.kind == "connection" and error.bill == "none" and not self._answered:
            if self._unreached is None:
                self._tried_since = self._clock()
            self._unreached = LLMError("unreachable", f"{self._name} has never answered ({error})")
            return self._unreached
        self._answered, self._unreached = True, None
        if error.kind not in TROUBLE:
            self.succeeded()
            return error
        self._in_a_row += 1
        if trial:
            self._open(min(2 * self._pause, LONGEST_PAUSE), error)
        elif not self._pause and self._in_a_row >= self._limit:
            self._opened_at = self._clock()
            self._open(self._first_pause, error)
        return error

    def abandoned(self, trial: bool) -> None:
        """The call ended without a word about the provider (cancelled, out of budget): another may try."""
        if trial:
            self._wake()

    def _open(self, pause: float, error: LLMError) -> None:
        self._pause = max(pause, min(error.retry_after or 0.0, LONGEST_PAUSE))
        self._open_until = self._clock() + self._pause
        log.warning(
            "%s has failed %d times in a row: all its calls wait %.0f s, then one tries (last: %s)",
            self._name, self._in_a_row, self._pause, error,
        )  # fmt: skip
        self._wake()

    def _wake(self) -> None:
        self._trying = False
        self._changed.set()
        self._changed = asyncio.Event()
