# SPDX-License-Identifier: Apache-2.0
"""Values that are there at once or must be awaited.

The store and the ledger of a run are files of this process, whose methods return values, or belong to another process,
whose methods return awaitables. Callers write `await soon(...)` for both. A value that is there suspends nothing, so no
other coroutine runs in between.
"""

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Iterable
from inspect import isawaitable
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
S = TypeVar("S")
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


async def beside(work: Coroutine[Any, Any, T], question: Coroutine[Any, Any, S]) -> tuple[T, S, float]:
    """Await both at a time. Return both results, and the seconds by which the question outlasted the work.

    When one fails, the other is cancelled and has ended before the first error is raised.
    """
    try:
        async with asyncio.TaskGroup() as group:
            working, asked = group.create_task(work), group.create_task(question)
            done = await working
            worked = time.monotonic()
            answer = await asked
    except BaseExceptionGroup as failed:
        first = failed.exceptions[0]
    else:
        return done, answer, time.monotonic() - worked
    raise first
