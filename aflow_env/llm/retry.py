# SPDX-License-Identifier: Apache-2.0
"""Bounded retries: exponential waits with full jitter, never shorter than the provider asks for.

Sits outside the limits and the budget, so each attempt takes its own place in the queue and its own reservation, and a
call that waits holds neither. A server that has never answered is asked again every `first` seconds, and not for long:
it may just be starting, but waiting and doubling is for servers that were there before. What is not retryable (a
refusal, a bad request, a wrong key) goes up at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import tenacity

from aflow_env.llm.breaker import PATIENCE
from aflow_env.llm.client import Completion, LLMClient, LLMError, Request

log = logging.getLogger(__name__)


class RetryingClient:
    """Sends a request up to `attempts` times while it fails for reasons that may pass.

    The n-th wait is drawn from [0, min(longest, first * 2^(n-1))] seconds, or is the provider's retry-after if that is
    longer. A provider that asks for more than `longest` seconds is not asked again: the error goes up.
    """

    def __init__(
        self,
        inner: LLMClient,
        attempts: int,
        first: float,
        longest: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._first, self._longest = first, longest
        self._backoff = tenacity.wait_random_exponential(multiplier=first, max=longest)
        self._attempts = attempts
        self._sleep = sleep

    async def complete(self, request: Request) -> Completion:
        """As LLMClient; the last error goes up when no attempt is left."""
        retrying = tenacity.AsyncRetrying(
            stop=self._enough,
            wait=self._wait,
            retry=tenacity.retry_if_exception(self._again),
            before_sleep=self._tell,
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(self._inner.complete, request)

    async def aclose(self) -> None:
        """As LLMClient."""
        await self._inner.aclose()

    def _again(self, error: BaseException) -> bool:
        return isinstance(error, LLMError) and error.retryable and (error.retry_after or 0.0) <= self._longest

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        in_vain = _error(state).kind == "unreachable" and (state.seconds_since_start or 0.0) > PATIENCE
        return in_vain or state.attempt_number >= self._attempts

    def _wait(self, state: tenacity.RetryCallState) -> float:
        if _error(state).kind == "unreachable":
            return min(self._first, PATIENCE / 4)
        return max(self._backoff(state), _error(state).retry_after or 0.0)

    def _tell(self, state: tenacity.RetryCallState) -> None:
        wait = state.next_action.sleep if state.next_action else 0.0
        log.info("attempt %d of %d, again in %.1f s: %s", state.attempt_number, self._attempts, wait, _error(state))


def _error(state: tenacity.RetryCallState) -> LLMError:
    """The failure that tenacity is about to wait for; `_again` lets through nothing else."""
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, LLMError)
    return error
