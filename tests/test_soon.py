# SPDX-License-Identifier: Apache-2.0
"""A question is asked beside a piece of work: neither waits for the other, and neither outlives a failure."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from aflow_env.errors import BudgetExhausted, InfrastructureError
from aflow_env.soon import beside


class Killed(BaseException):
    """No Exception."""


class Slow:
    """Never ends by itself, takes a turn of the loop to be cancelled, and then may fail as well."""

    def __init__(self, last_words: BaseException | None = None) -> None:
        self.begun, self.ended = asyncio.Event(), False
        self.last_words = last_words

    async def __call__(self) -> str:
        try:
            self.begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended = True
            if self.last_words:
                raise self.last_words
        raise AssertionError("nobody sets the event")


async def fails(after: asyncio.Event, error: BaseException) -> str:
    await after.wait()
    raise error


def alone() -> bool:
    """Whether no task is left but the test's own."""
    return asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("question_is_last", [True, False])
async def test_both_run_at_a_time_and_the_wait_is_what_comes_after_the_work(question_is_last: bool) -> None:
    """Each waits for the other to begin; the wait counts from the end of the work."""
    working, asking, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def run(mine: asyncio.Event, other: asyncio.Event, last: bool, answer: str) -> str:
        mine.set()
        await other.wait()
        if last:
            await ended.wait()
            await asyncio.sleep(0.05)
        ended.set()
        return answer

    work, question = run(working, asking, not question_is_last, "done"), run(asking, working, question_is_last, "said")
    done, said, seconds = await asyncio.wait_for(beside(work, question), 30)
    assert (done, said) == ("done", "said")
    assert (seconds >= 0.04) == question_is_last
    assert alone()


@pytest.mark.parametrize("error", [InfrastructureError("gone"), BudgetExhausted("spent"), Killed()])
@pytest.mark.parametrize("last_words", [None, ValueError("cancelled, and failed too")])
@pytest.mark.parametrize("work_fails", [True, False])
async def test_the_first_failure_ends_the_other_and_is_raised_as_it_is(
    error: BaseException, last_words: BaseException | None, work_fails: bool
) -> None:
    other = Slow(last_words)
    error.__cause__ = KeyError("why")
    pair: list[Coroutine[Any, Any, str]] = [fails(other.begun, error), other()]
    with pytest.raises(type(error)) as raised:
        await asyncio.wait_for(beside(*(pair if work_fails else pair[::-1])), 30)
    assert raised.value is error
    assert isinstance(error.__cause__, KeyError)
    assert other.ended
    assert alone()


async def test_a_cancellation_ends_both() -> None:
    work, question = Slow(), Slow()
    task = asyncio.ensure_future(beside(work(), question()))
    await work.begun.wait()
    await question.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended
    assert question.ended
    assert alone()
