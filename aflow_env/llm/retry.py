# SPDX-License-Identifier: Apache-2.0
"""Bounded retries: exponential waits with full jitter, never shorter than the provider asks for.

They are outside the limits and the budget: each attempt takes its own place in the queue and its own reservation, and a
call that waits has neither. A server that has never answered may just be starting: it is asked again every `first`
seconds, for `PATIENCE` seconds.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import tenacity

from aflow_env.llm.client import Completion, LLMClient, LLMError, Request, Wrapper
from aflow_env.llm.provider_limits import PATIENCE

log = logging.getLogger(__name__)


class RetryingClient(Wrapper):
    """Sends a request up to `attempts` times while it fails for reasons that may pass.

    The n-th wait is drawn from [0, min(longest, first * 2^(n-1))] seconds, or is the provider's retry-after if that is
    longer. A provider that asks for more than `longest` seconds is not asked again. The last error is raised.
    """

    def __init__(
        self,
        inner: LLMClient,
        attempts: int,
        first: float,
        longest: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(inner)
        backoff = tenacity.wait_random_exponential(multiplier=first, max=longest)

        def again(error: BaseException) -> bool:
            return isinstance(error, LLMError) and error.retryable and (error.retry_after or 0.0) <= longest

        def enough(state: tenacity.RetryCallState) -> bool:
            in_vain = _error(state).kind == "unreachable" and (state.seconds_since_start or 0.0) > PATIENCE
            return in_vain or state.attempt_number >= attempts

        def wait(state: tenacity.RetryCallState) -> float:
            error = _error(state)
            return (
                min(first, PATIENCE / 4) if error.kind == "unreachable" else max(backoff(state), error.retry_after or 0)
            )

        def tell(state: tenacity.RetryCallState) -> None:
            done, pause = state.attempt_number, state.upcoming_sleep
            log.info("attempt %d of %d: %s, again in %.1f s", done, attempts, _error(state), pause)

        retry = tenacity.retry_if_exception(again)
        self._retrying = tenacity.AsyncRetrying(
            stop=enough, wait=wait, retry=retry, before_sleep=tell, sleep=sleep, reraise=True
        )

    async def complete(self, request: Request) -> Completion:
        return await self._retrying.copy()(self.inner.complete, request)


def _error(state: tenacity.RetryCallState) -> LLMError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, LLMError)  # `again` lets through nothing else
    return error
