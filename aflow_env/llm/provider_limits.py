# SPDX-License-Identifier: Apache-2.0
"""The limits of a provider (calls at a time, tokens a minute, a breaker for one that is down), and retries.

One `ProviderLimits` belongs to one provider: give the same object to every client of it (an executor and an implementer
that both ask Claude). They are the limits of this process alone: n such processes may together reach n times as much.
With `renew` they are this process's part of limits that several share: its leased places (leases.py), and an equal part
of the tokens a minute. Each process has a breaker of its own.

Retries are outside the limits and the budget: each attempt takes its own place in the queue and its own reservation,
and a call that waits has neither. A server that has never answered may just be starting: it is asked again every
`first` seconds, for `PATIENCE` seconds.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import tenacity

from aflow_env.config import LLMConfig
from aflow_env.llm.client import BYTES_PER_TOKEN, Completion, LLMClient, LLMError, PromptTooLong, Request, Wrapper
from aflow_env.llm.leases import LeasedPlaces, Renew

log = logging.getLogger(__name__)

LONGEST_PAUSE = 600.0
PATIENCE = 10.0  # seconds for which a server that never answered is tried


class TokenBucket:
    """Lets `per_minute` tokens through, first come first served, and saves at most one minute's worth. 0: no limit."""

    def __init__(self, per_minute: int) -> None:
        self._capacity = self._level = float(per_minute)
        self._filled_at = time.monotonic()
        self._turn = asyncio.Lock()

    async def take(self, tokens: int) -> None:
        """Wait until `tokens` may be spent. More than a minute's worth waits for a full bucket, and leaves a debt."""
        if not self._capacity:
            return
        async with self._turn:
            missing = min(tokens, self._capacity) - self._filled()
            while missing > 0:
                await asyncio.sleep(missing * 60.0 / self._capacity)
                missing = min(tokens, self._capacity) - self._filled()
            self.give_back(-tokens)

    def resize(self, per_minute: float) -> None:
        """Let `per_minute` flow in. A bucket without a limit stays one, and 0 leaves a limit as it is."""
        if self._capacity and per_minute:
            self._level = min(self._filled(), per_minute)
            self._capacity = per_minute

    def give_back(self, tokens: int) -> None:
        """Correct an estimate: positive when less was used than was taken, negative when more was."""
        self._level = min(self._capacity, self._level + tokens)

    def _filled(self) -> float:
        """Fill the bucket up to now, and return its level."""
        before, self._filled_at = self._filled_at, time.monotonic()
        self._level = min(self._capacity, self._level + (self._filled_at - before) * self._capacity / 60.0)
        return self._level


class Breaker:
    """Opens after `failures` in a row for `pause` seconds, doubled (up to 10 minutes) as long as the trial fails.

    While it is open all calls wait, and one at a time tries. So a search pauses, and wastes no rounds on a provider
    that is down. A server that has never answered is most likely a wrong address, or was not started: after `PATIENCE`
    seconds every call fails at once.
    """

    def __init__(self, name: str, failures: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._limit = failures
        self._first_pause = pause
        self._clock = clock
        self._answered = False
        self._unreached: LLMError | None = None
        self._tried_since = self._opened_at = self._open_until = clock()
        self._in_a_row = 0
        self._pause = 0.0  # 0: closed
        self._turn = asyncio.Lock()

    async def call(self, send: Callable[[], Awaitable[Completion]]) -> Completion:
        """Send once the provider is thought to be up.

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
        except PromptTooLong:  # the provider is alive
            self._succeeded()
            raise
        self._succeeded()
        return completion

    def _succeeded(self) -> None:
        if self._pause:
            log.warning("%s answers again after %.0f s", self._name, self._clock() - self._opened_at)
        self._answered, self._unreached, self._in_a_row, self._pause = True, None, 0, 0.0

    def _failed(self, trial: bool, error: LLMError) -> LLMError:
        """Count an error that may pass. Any other shows that the provider is alive.

        Return the error to raise: `unreachable` where no connection was ever made, else the same.
        """
        if error.kind == "connection" and error.bill == "none" and not self._answered:
            if self._unreached is None:
                self._tried_since = self._clock()
            self._unreached = LLMError("unreachable", f"{self._name} has never answered ({error})")
            return self._unreached
        if error.unanswered or not error.retryable:
            self._succeeded()
            return error
        self._answered, self._unreached = True, None
        self._in_a_row += 1
        if not trial and (self._pause or self._in_a_row < self._limit):
            return error
        if not trial:
            self._opened_at = self._clock()
        pause = min(2 * self._pause, LONGEST_PAUSE) if trial else self._first_pause
        self._pause = max(pause, min(error.retry_after or 0.0, LONGEST_PAUSE))
        self._open_until = self._clock() + self._pause
        log.warning(
            "%s has failed %d times in a row: all its calls wait %.0f s, then one tries (last: %s)",
            self._name, self._in_a_row, self._pause, error,
        )  # fmt: skip
        return error


class ProviderLimits:
    """The limits of one provider. `role` names it in the breaker's line.

    `renew` asks for this process's part of limits that several processes share.
    """

    def __init__(self, config: LLMConfig, role: str = "executor", renew: Renew | None = None) -> None:
        name = " ".join(filter(None, (role, config.kind, config.model, config.base_url)))
        self.breaker = Breaker(name, config.breaker_failures, config.breaker_seconds)
        self.tokens = TokenBucket(config.tokens_per_minute)
        self.places: AbstractAsyncContextManager[None] = asyncio.Semaphore(config.concurrency)
        if renew is not None:

            def resize(may: int) -> None:
                self.tokens.resize(config.tokens_per_minute * may / config.concurrency)

            resize(1)  # the part of one place, until more is leased
            self.places = LeasedPlaces(renew, resize)


@dataclass(eq=False)
class LimitedClient(Wrapper):
    """Takes every attempt of `inner` through the limits: a place, tokens, the breaker."""

    limits: ProviderLimits

    async def complete(self, request: Request) -> Completion:
        limits, estimate = self.limits, estimated_tokens(request)
        async with limits.places:
            await limits.tokens.take(estimate)
            try:
                completion = await limits.breaker.call(lambda: self.inner.complete(request))
            except (LLMError, PromptTooLong) as error:
                if error.bill == "none":
                    limits.tokens.give_back(estimate)
                raise
            limits.tokens.give_back(estimate - completion.tokens)
            return completion


def estimated_tokens(request: Request) -> int:
    """Estimate the prompt plus the whole reply, as providers do before a call."""
    return request.prompt_bytes // BYTES_PER_TOKEN + request.max_tokens


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
            if error.kind == "unreachable":
                return min(first, PATIENCE / 4)
            return max(backoff(state), error.retry_after or 0.0)

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
