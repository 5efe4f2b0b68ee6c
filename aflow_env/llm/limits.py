# SPDX-License-Identifier: Apache-2.0
"""How hard a provider may be hit by this process: calls at a time, tokens a minute, and a breaker when it is down.

One `Limits` belongs to one provider: give the same object to every client of it (an executor and an implementer that
both ask Claude). Each process has its own; n processes may together reach n times the limits.
"""

import asyncio
import time
from collections.abc import Callable

from aflow_env.config import LLMConfig
from aflow_env.llm.breaker import Breaker
from aflow_env.llm.client import Completion, LLMClient, LLMError, Request


class TokenBucket:
    """Lets `per_minute` tokens through, first come first served; holds at most one minute's worth. 0: no limit."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._capacity = float(per_minute)
        self._level = self._capacity
        self._clock = clock
        self._filled_at = clock()
        self._turn = asyncio.Lock()

    async def take(self, tokens: int) -> None:
        """Wait until `tokens` may be spent. More than a minute's worth counts as a minute's worth."""
        if not self._capacity:
            return
        wanted = min(float(tokens), self._capacity)
        async with self._turn:
            self._fill()
            while self._level < wanted:
                await asyncio.sleep((wanted - self._level) * 60.0 / self._capacity)
                self._fill()
            self._level -= wanted

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
        self.places = asyncio.Semaphore(concurrency)
        self.tokens = TokenBucket(tokens_per_minute)
        self.breaker = Breaker(name, failures, pause)

    @classmethod
    def of(cls, config: LLMConfig, role: str = "executor") -> "Limits":
        """The limits that a config asks for; `role` names it in the breaker's line."""
        name = " ".join(filter(None, (role, config.kind, config.model, config.base_url)))
        return cls(name, config.concurrency, config.tokens_per_minute, config.breaker_failures, config.breaker_seconds)


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
            trial = await limits.breaker.admit()
            try:
                completion = await self._inner.complete(request)
            except LLMError as error:
                limits.breaker.failed(trial, error)
                if error.bill == "none":
                    limits.tokens.give_back(estimate)
                raise
            except BaseException:
                limits.breaker.abandoned(trial)
                raise
            limits.breaker.succeeded()
            limits.tokens.give_back(estimate - completion.tokens)
            return completion

    async def aclose(self) -> None:
        """As LLMClient."""
        await self._inner.aclose()


def estimated_tokens(request: Request) -> int:
    """A usual estimate (4 bytes a token) plus the whole reply: what providers reckon with before a call."""
    return sum(len(message.content.encode()) for message in request.messages) // 4 + request.max_tokens
