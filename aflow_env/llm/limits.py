# SPDX-License-Identifier: Apache-2.0
"""How hard a provider may be hit: calls at a time, tokens a minute, and a breaker when it is down.

One `Limits` belongs to one provider: give the same object to every client of it (an executor and an implementer that
both ask Claude). `Limits.of` makes those of this process alone; n such processes may together reach n times the
limits. `Limits.leased` makes this process's part of limits that several share: the places that it is lent (leases.py),
and as large a part of the tokens a minute. Breakers are not shared: each process finds out by itself.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from aflow_env.config import LLMConfig
from aflow_env.llm.breaker import Breaker
from aflow_env.llm.client import BYTES_PER_TOKEN, Completion, LLMClient, LLMError, Request
from aflow_env.llm.leases import LeasedPlaces, Renew


class TokenBucket:
    """Lets `per_minute` tokens through, first come first served; holds at most one minute's worth. 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._level = self._capacity
        self._clock = clock
        self._filled_at = clock()
        self._turn = asyncio.Lock()

    async def take(self, tokens: int) -> None:
        """Wait until `tokens` may be spent; more than a minute's worth passes once the bucket is full, and leaves a
        debt."""
        if not self._capacity:
            return
        async with self._turn:
            self._fill()
            while (missing := min(tokens, self._capacity) - self._level) > 0:
                await asyncio.sleep(missing * 60.0 / self._capacity)
                self._fill()
            self._level -= tokens

    def resize(self, per_minute: float) -> None:
        """From now on `per_minute` flow in. No bucket that limits becomes one without a limit, or the other way."""
        if self._capacity and per_minute:
            self._fill()
            self._capacity = per_minute
            self._level = min(self._level, per_minute)

    def give_back(self, tokens: int) -> None:
        """Correct an estimate: positive when less was used than was taken, negative when more was."""
        self._level = min(self._capacity, self._level + tokens)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._filled_at) * self._capacity / 60.0)
        self._filled_at = now


class Limits:
    """The gates in front of one provider."""

    def __init__(self, name: str, concurrency: int, tokens_per_minute: int, failures: int, pause: float) -> None:
        self.places: AbstractAsyncContextManager[None] = asyncio.Semaphore(concurrency)
        self.tokens = TokenBucket(tokens_per_minute)
        self.breaker = Breaker(name, failures, pause)

    @classmethod
    def of(cls, config: LLMConfig, role: str = "executor") -> "Limits":
        """The limits that a config asks for; `role` names it in the breaker's line."""
        name = " ".join(filter(None, (role, config.kind, config.model, config.base_url)))
        return cls(name, config.concurrency, config.tokens_per_minute, config.breaker_failures, config.breaker_seconds)

    @classmethod
    def leased(cls, config: LLMConfig, role: str, renew: Renew) -> "Limits":
        """This process's part of the limits that a config asks for; `renew` asks for its part of the places."""
        limits = cls.of(config, role)
        limits.tokens.resize(config.tokens_per_minute / config.concurrency)  # one place's worth, until more is lent

        def told(may: int) -> None:
            limits.tokens.resize(config.tokens_per_minute * may / config.concurrency)

        limits.places = LeasedPlaces(renew, told)
        return limits


class LimitedClient:
    """Takes every attempt of `inner` through the gates."""

    def __init__(self, inner: LLMClient, limits: Limits) -> None:
        self._inner = inner
        self._limits = limits

    async def complete(self, request: Request) -> Completion:
        """As LLMClient; waits for a place, for the breaker and for tokens."""
        limits = self._limits
        async with limits.places:
            estimate = estimated_tokens(request)
            await limits.tokens.take(estimate)
            try:
                completion = await limits.breaker.call(lambda: self._inner.complete(request))
            except LLMError as error:
                if error.bill == "none":
                    limits.tokens.give_back(estimate)
                raise
            limits.tokens.give_back(estimate - completion.tokens)
            return completion

    async def aclose(self) -> None:
        """As LLMClient."""
        await self._inner.aclose()


def estimated_tokens(request: Request) -> int:
    """An estimate of the prompt plus the whole reply: what providers reckon with before a call."""
    return request.prompt_bytes // BYTES_PER_TOKEN + request.max_tokens
