# SPDX-License-Identifier: Apache-2.0
"""The budget is a ceiling: each attempt reserves its worst case before it is sent, and settles its cost afterwards.

Calls that run at the same time therefore cannot overspend together. A call that would fit but for the reservations of
others waits until they have settled. One that does not fit at all raises BudgetExhausted.

The ledger is in SQLite: all processes of a run share one ceiling, and a killed run forgets nothing. A reservation that
nobody settled by its deadline (the process was killed, the reply never came) stays counted in full.

A call counts when it was answered or may have been billed. An attempt that a provider turned away (429, 500, 529,
refused connection) costs nothing. An attempt with an unknown bill (a time-out, a reset, a cancelled call, a garbled
reply) stays at its worst case and is shown apart, as `uncertain`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from aflow_env.config import BudgetConfig
from aflow_env.errors import BudgetExhausted
from aflow_env.files import FileOwner, open_shared
from aflow_env.llm.client import Completion, LLMError, PromptTooLong, Request, Wrapper
from aflow_env.llm.prices import PICO, Price
from aflow_env.screen import plural
from aflow_env.soon import Soon, soon

AMOUNTS = ("picos", "tokens", "calls", "unpriced")
COLUMNS = ", ".join(AMOUNTS)
SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS spent (certain INTEGER PRIMARY KEY, {COLUMNS})",
    f"CREATE TABLE IF NOT EXISTS reserved (id INTEGER PRIMARY KEY AUTOINCREMENT, {COLUMNS}, deadline REAL)",
    "INSERT OR IGNORE INTO spent VALUES (0, 0, 0, 0, 0), (1, 0, 0, 0, 0)",
)


@dataclass(frozen=True)
class Spend:
    """An amount: pico-USD (1e-12 USD), tokens in and out, calls, and the number of calls without a known price."""

    picos: int = 0
    tokens: int = 0
    calls: int = 0
    unpriced: int = 0

    def __add__(self, other: "Spend") -> "Spend":
        return Spend(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def usd(self) -> float:
        """The money in USD, for display. Calls without a price are not in it."""
        return self.picos / PICO

    @property
    def money(self) -> str:
        """The money in words: `unknown` where no call has a price, `at least` where some have none."""
        known = f"{self.usd:.4f} USD"
        if not self.unpriced:
            return known
        if self.unpriced == self.calls:
            return "unknown"
        return f"at least {known} (without a price: {plural(self.unpriced, 'call')})"


@dataclass(frozen=True)
class Ceiling:
    """The most that may be spent. None means no limit. `calls_key` is the config key that limits the calls."""

    picos: int | None = None
    tokens: int | None = None
    calls: int | None = None
    calls_key: str = "budget.calls"

    def passed_by(self, total: Spend) -> str:
        """Return the config key of the first limit that `total` would pass, or the empty string."""
        for name, key in (("picos", "budget.usd"), ("tokens", "budget.tokens"), ("calls", self.calls_key)):
            limit = getattr(self, name)
            if limit is not None and getattr(total, name) > limit:
                return key
        return ""


@dataclass(frozen=True)
class Totals:
    """`certain`: reported by providers. `uncertain`: worst cases of unknown bills. `reserved`: in flight."""

    certain: Spend
    uncertain: Spend
    reserved: Spend

    @property
    def spent(self) -> Spend:
        """All that counts against the ceiling for good."""
        return self.certain + self.uncertain


class Ledger(FileOwner):
    """The shared account. Every method is one transaction, safe among threads and among processes.

    Each raises InfrastructureError when the file cannot be written.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.time, later: bool = False) -> None:
        """Open or make the file, `later` at its first use."""
        super().__init__(partial(open_shared, path, *SCHEMA, wal=True))
        self._clock = clock
        if not later:
            self.open()

    def reserve(self, worst: Spend, ceiling: Ceiling, seconds: float, ticket: int | None = None) -> int | None:
        """Reserve `worst` for an attempt that settles within `seconds`, and return its ticket.

        `ticket` is the caller's own (for example drawn from 2^62). A second request under a reserved ticket reserves
        nothing more. Return None when `worst` only fits once attempts in flight have settled. Raise BudgetExhausted
        when it does not fit at all.
        """
        with self._database.write():
            self._expire()
            if self._database.execute("SELECT 1 FROM reserved WHERE id = ?", (ticket,)).fetchone():  # never for NULL
                return ticket
            if ceiling != Ceiling():  # without a limit there is nothing to add up
                totals = self._totals()
                if key := ceiling.passed_by(totals.spent + worst):
                    raise BudgetExhausted(_explain(key, totals.spent, worst))
                if ceiling.passed_by(totals.spent + totals.reserved + worst):
                    return None
            row = (ticket, *astuple(worst), self._clock() + seconds)
            cursor = self._database.execute("INSERT INTO reserved VALUES (?, ?, ?, ?, ?, ?)", row)
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def settle(self, ticket: int, actual: Spend | None) -> None:
        """Turn a reservation into the attempt's cost. None: unknown, so its worst case stays counted.

        A reservation that has expired is counted at its worst case already.
        """
        with self._database.write():
            self._count("id = ?", ticket, actual)

    def totals(self) -> Totals:
        """Return the present account."""
        with self._database.write():
            self._expire()
            return self._totals()

    def _expire(self) -> None:
        self._count("deadline < ?", self._clock(), None)

    def _count(self, where: str, value: float, actual: Spend | None) -> None:
        add = ", ".join(f"{name} = {name} + ?" for name in AMOUNTS)
        deleted = self._database.execute(f"DELETE FROM reserved WHERE {where} RETURNING {COLUMNS}", (value,))
        for worst in deleted.fetchall():
            amount = worst if actual is None else astuple(actual)
            self._database.execute(f"UPDATE spent SET {add} WHERE certain = ?", (*amount, int(actual is not None)))

    def _totals(self) -> Totals:
        rows = self._database.execute(f"SELECT {COLUMNS} FROM spent ORDER BY certain DESC").fetchall()
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in AMOUNTS)
        reserved = self._database.execute(f"SELECT {sums} FROM reserved").fetchone()
        return Totals(Spend(*rows[0]), Spend(*rows[1]), Spend(*reserved))


def _explain(key: str, spent: Spend, worst: Spend) -> str:
    return (
        f"{key} is reached: {spent.usd:.6f} USD, {plural(spent.tokens, 'token')} and {plural(spent.calls, 'call')} are "
        f"spent, and the next call could cost {worst.usd:.6f} USD and {plural(worst.tokens, 'token')}. Raise {key} to "
        "go on; nothing is lost."
    )


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
        except (LLMError, PromptTooLong) as error:
            actual = Spend() if error.bill == "none" else _spend(error.billed)
            raise
        finally:
            await self.budget.settle(ticket, actual)


def _spend(reply: Completion | None) -> Spend | None:
    """Return the cost of a reply. None, unknown: there was none, or the server reported no usage."""
    if reply is None or not reply.counted:
        return None
    return Spend(round(reply.cost_usd * PICO), reply.tokens, calls=1, unpriced=int(not reply.cost_known))
