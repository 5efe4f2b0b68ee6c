# SPDX-License-Identifier: Apache-2.0
"""The spending of a run, in SQLite: all its processes share one ceiling, and a killed run forgets nothing.

An attempt first reserves its worst case, then settles its cost. A reservation that nobody settled by its deadline (the
process was killed, the reply never came) stays counted in full, because it may have been billed. `Ledger()` is in
memory. `Ledger(path)` is shared by every process that opens the same file.
"""

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

from aflow_env.errors import BudgetExhausted
from aflow_env.files import FileOwner, SharedFile, open_shared, storing
from aflow_env.llm.prices import PICO
from aflow_env.screen import plural

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
        return (
            "unknown"
            if self.unpriced == self.calls
            else f"at least {known} (without a price: {plural(self.unpriced, 'call')})"
        )


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


NO_CEILING = Ceiling()


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


def _opened(path: Path | None) -> SharedFile:
    database = open_shared(path)
    with storing(path):
        database.to_wal()
    with database.write():
        for statement in SCHEMA:
            database.execute(statement)
    return database


class Ledger(FileOwner):
    """The shared account. Every method is one transaction, safe among threads and among processes.

    Each raises InfrastructureError when the file cannot be written.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.time, later: bool = False) -> None:
        """Open or make the file, `later` at its first use."""
        super().__init__(partial(_opened, path))
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
            if ceiling != NO_CEILING:  # without a limit there is nothing to add up
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
        """Count reservations as `actual`, or as uncertain at their worst case, and delete them."""
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
    paid = f"{spent.usd:.6f} USD, {plural(spent.tokens, 'token')} and {plural(spent.calls, 'call')}"
    more = f"{worst.usd:.6f} USD and {plural(worst.tokens, 'token')}"
    reached = f"{key} is reached: {paid} are spent, and the next call could cost {more}"
    return f"{reached}. Raise {key} to go on; nothing is lost."
