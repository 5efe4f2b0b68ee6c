# SPDX-License-Identifier: Apache-2.0
"""Answers that are there at once, or come later.

What the processes of a run share (its store, its ledger) is either a file that this process has open, whose methods
return their value, or belongs to another process, whose answer has to be awaited. Callers write `await soon(...)` for
both; where the value is there nothing is suspended, so no other coroutine gets a turn in between.
"""

from collections.abc import Awaitable
from inspect import isawaitable
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Soon: TypeAlias = T | Awaitable[T]


async def soon(value: Soon[T]) -> T:
    """The value itself, or what it comes to. Raises as it does."""
    return await value if isawaitable(value) else value
