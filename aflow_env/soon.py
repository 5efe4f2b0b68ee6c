# SPDX-License-Identifier: Apache-2.0
"""Answers that are there at once, or come later.

What the processes of a run share (its store, its ledger) is either a file that this process has open, whose methods
return their value, or belongs to another process, whose answer has to be awaited. Callers write `await soon(...)` for
both; where the value is there nothing is suspended, so no other coroutine gets a turn in between.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from inspect import isawaitable
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Soon: TypeAlias = T | Awaitable[T]


async def soon(value: Soon[T]) -> T:
    """The value itself, or what it comes to. Raises as it does."""
    return await value if isawaitable(value) else value


async def together(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Await all at a time; the results in order. Where some raise, the others come to their end, then the first raises.

    (So nothing that was asked for is thrown away, and no task is left behind.)
    """
    found = await asyncio.gather(*awaitables, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]
