# SPDX-License-Identifier: Apache-2.0
"""Values that are there at once or must be awaited.

The store and the ledger of a run are files of this process, whose methods return values, or belong to another process,
whose methods return awaitables. Callers write `await soon(...)` for both. A value that is there suspends nothing, so no
other coroutine runs in between.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from inspect import isawaitable
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Soon: TypeAlias = T | Awaitable[T]


async def soon(value: Soon[T]) -> T:
    """Return the value, or await it."""
    return await value if isawaitable(value) else value


async def together(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """Await all at a time and return the results in order. Raises the first error after all have ended."""
    found = await asyncio.gather(*awaitables, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]
