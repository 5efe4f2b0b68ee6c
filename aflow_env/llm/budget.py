# SPDX-License-Identifier: Apache-2.0
"""The budget is a ceiling: each attempt reserves its worst case before it is sent, and settles its cost afterwards.

Calls that run at the same time therefore cannot overspend together. A call that would fit but for the reservations of
others waits until they have settled. One that does not fit at all raises BudgetExhausted.

A call counts when it was answered or may have been billed. An attempt that a provider turned away (429, 500, 529,
refused connection) costs nothing. An attempt with an unknown bill (a time-out, a reset, a cancelled call, a garbled
reply) stays at its worst case and is shown apart, as `uncertain`.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Protocol

from aflow_env.config import BudgetConfig
from aflow_env.llm.client import Completion, LLMError, PromptTooLong, Request, Wrapper
from aflow_env.llm.ledger import Ceiling, Ledger, Spend, Totals
from aflow_env.llm.prices import PICO, Price
from aflow_env.soon import Soon, soon


class Account(Protocol):
    """The part of `Ledger` that a budget needs, here or asked of the process that owns it.

    A `reserve` that is cancelled on the way reserves nothing.
    """

    def reserve(self, worst: Spend, ceiling: Ceiling, seconds: float) -> Soon[int | None]: ...
    def settle(self, ticket: int, actual: Spend | None) -> Soon[None]: ...


class Budget:
    """One ceiling for the whole run: give the same ledger file to every client and process of it."""

    def __init__(self, config: BudgetConfig, ledger: Account | None = None, calls_key: str = "budget.calls") -> None:
        picos = None if config.usd is None else round(config.usd * PICO)
        self.ceiling = Ceiling(picos, config.tokens, config.calls, calls_key)
        self.ledger = ledger or Ledger()
        self._settled = asyncio.Event()

    @property
    def totals(self) -> Totals:
        """The totals of a ledger of this process."""
        if not isinstance(self.ledger, Ledger):
            raise TypeError("another process owns the ledger: ask it for its totals")
        return self.ledger.totals()

    async def reserve(self, worst: Spend, seconds: float) -> int:
        """Reserve `worst`, waiting for calls in flight if need be. Raises BudgetExhausted when it cannot fit."""
        while (ticket := await soon(self.ledger.reserve(worst, self.ceiling, seconds))) is None:
            with contextlib.suppress(TimeoutError):  # other processes settle without telling us
                await asyncio.wait_for(self._settled.wait(), timeout=0.25)
        return ticket

    async def settle(self, ticket: int, actual: Spend | None) -> None:
        """Replace a reservation by the attempt's cost (None: unknown, so the worst case), and wake waiting calls."""
        await soon(self.ledger.settle(ticket, actual))
        self._settled.set()
        self._settled = asyncio.Event()


@dataclass(eq=False)
class BudgetClient(Wrapper):
    """Takes every attempt of `inner` through the budget. `seconds` bounds how long an attempt can be in flight."""

    budget: Budget
    price: Price | None
    seconds: float

    async def complete(self, request: Request) -> Completion:
        """As LLMClient. Raises BudgetExhausted when the worst case of this call does not fit."""
        picos = self.price.worst(request) if self.price else 0
        worst = Spend(picos, request.input_bound + request.output_bound, 1, int(self.price is None))
        ticket = await self.budget.reserve(worst, self.seconds)
        actual: Spend | None = None
        try:
            completion = await self.inner.complete(request)
            actual = _spend(completion)
            return completion
        except LLMError as error:
            actual = Spend() if error.bill == "none" else _spend(error.billed)
            raise
        except PromptTooLong:
            actual = Spend()
            raise
        finally:
            await self.budget.settle(ticket, actual)


def _spend(reply: Completion | None) -> Spend | None:
    """Return the cost of a reply. None, unknown: there was none, or the server reported no usage."""
    if reply is None or not reply.counted:
        return None
    return Spend(round(reply.cost_usd * PICO), reply.tokens, calls=1, unpriced=int(not reply.cost_known))
