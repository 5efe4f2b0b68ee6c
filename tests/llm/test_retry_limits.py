# SPDX-License-Identifier: Apache-2.0
"""Retries are bounded and polite; limits hold; the breaker pauses everybody with one line and lets one try."""

import asyncio
import email.utils
import logging
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.llm.client import Completion, LLMError, PromptTooLong, Request
from aflow_env.llm.provider_limits import (
    Breaker,
    LimitedClient,
    ProviderLimits,
    RetryingClient,
    TokenBucket,
    estimated_tokens,
)
from aflow_env.llm.providers.answer import retry_after, status_error
from tests.llm.helpers import ask, config

DONE = Completion(text="done", model="m", input_tokens=10, output_tokens=5)


def limited(**keys: Any) -> ProviderLimits:
    """The limits of a test's provider."""
    keys = {"concurrency": 4, "breaker_failures": 100, "breaker_seconds": 1.0, **keys}
    return ProviderLimits(config("openai", **keys))


class Script:
    """A client that raises the given errors one after another, then answers; None answers at once."""

    def __init__(self, *errors: LLMError | PromptTooLong | None, seconds: float = 0.0) -> None:
        self.errors, self.seconds = list(errors), seconds
        self.calls = self.running = self.most = 0

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
            if error := self.errors.pop(0) if self.errors else None:
                raise error
            return DONE
        finally:
            self.running -= 1

    async def aclose(self) -> None: ...


def down(retry_after: float | None = None) -> LLMError:
    return LLMError("overloaded", "down", retry_after=retry_after)


async def test_waits_grow_have_jitter_are_bounded_and_never_shorter_than_asked():
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    for _ in range(200):
        inner = Script(down(), down(), down(retry_after=3.0), down(), down())
        assert await RetryingClient(inner, 6, 1.0, 5.0, sleep).complete(ask("x")) == DONE
    rounds = [waits[k::5] for k in range(5)]
    assert [max(r) <= cap for r, cap in zip(rounds, (1, 2, 4, 5, 5), strict=True)] == [True] * 5
    assert min(rounds[2]) >= 3.0
    assert len(set(rounds[0])) > 100, "jitter"


async def test_the_last_error_goes_up_after_the_last_attempt_and_what_cannot_pass_at_once():
    inner = Script(*[down() for _ in range(9)])
    with pytest.raises(LLMError, match="overloaded"):
        await RetryingClient(inner, 3, 0.001, 0.001).complete(ask("x"))
    assert inner.calls == 3
    inner = Script(LLMError("refused", "no"))
    with pytest.raises(LLMError, match="refused"):
        await RetryingClient(inner, 3, 0.001, 0.001).complete(ask("x"))
    assert inner.calls == 1


async def test_a_provider_that_asks_for_longer_than_we_wait_is_left_in_peace():
    inner = Script(down(retry_after=61))
    with pytest.raises(LLMError):
        await RetryingClient(inner, 3, 0.001, 60).complete(ask("x"))
    assert inner.calls == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0), ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25), ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None), ({"retry-after": "soon"}, None), ({}, None),
        ({"retry-after": "inf"}, None), ({"retry-after": "Mon, 01 Jan 1990 00:00:00 GMT"}, 0.0),
    ],
)  # fmt: skip
def test_retry_after_in_all_its_forms(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date():
    wait = retry_after({"retry-after": email.utils.formatdate(time.time() + 30, usegmt=True)})
    assert wait is not None
    assert 27 < wait < 31


@given(st.text(max_size=60))
def test_any_retry_after_is_a_sane_number_or_nothing(value):
    wait = retry_after({"retry-after": value})
    assert wait is None or wait >= 0


def test_a_context_that_max_tokens_alone_fills_is_the_configs_fault_not_the_workflows():
    text = "This model's maximum context length is 2048 tokens. However, you requested {} output tokens and your prompt"
    small, large = ask("x", max_tokens=512), ask("x", max_tokens=1500)
    assert type(status_error(400, "", text.format(512), {}, small)).__name__ == "PromptTooLong"
    error = status_error(400, "", text.format(1500), {}, large)
    assert isinstance(error, LLMError)
    assert "max_tokens=1500 leaves too little" in str(error)


async def test_no_more_calls_at_a_time_than_allowed():
    inner = Script(seconds=0.01)
    client = LimitedClient(inner, limited())
    await asyncio.gather(*(client.complete(ask(f"{k}")) for k in range(20)))
    assert (inner.calls, inner.most) == (20, 4)


async def test_two_clients_of_one_provider_share_its_limits():
    one, two = Script(seconds=0.02), Script(seconds=0.02)
    limits = limited(concurrency=1)
    clients = [LimitedClient(inner, limits) for inner in (one, two)]
    started = time.monotonic()
    await asyncio.gather(*(client.complete(ask("x")) for client in clients for _ in range(3)))
    assert time.monotonic() - started > 0.11


async def test_tokens_per_minute_hold_over_any_time_in_order_and_estimates_are_corrected():
    bucket = TokenBucket(60_000)  # 1000 a second
    order: list[int] = []

    async def take(k: int) -> None:
        await bucket.take(30_100)
        order.append(k)

    started = time.monotonic()
    await asyncio.gather(*map(take, range(2)))  # 60200: 200 more than the bucket holds
    assert 0.15 < time.monotonic() - started < 60
    assert order == [0, 1]
    bucket.give_back(30_000)
    await asyncio.wait_for(bucket.take(29_000), timeout=15)  # it would take 29 s to refill


async def test_a_call_larger_than_a_minutes_tokens_passes_once_the_bucket_is_full():
    await asyncio.wait_for(TokenBucket(100).take(5000), timeout=60)


async def test_used_and_unused_tokens_are_corrected_after_the_call():
    limits = limited(tokens_per_minute=10**6)
    client = LimitedClient(Script(None, down()), limits)
    request = ask("x" * 400, max_tokens=1000)
    await client.complete(request)
    assert estimated_tokens(request) == 1100
    assert limits.tokens._level == pytest.approx(10**6 - DONE.tokens, abs=5)
    with pytest.raises(LLMError):
        await client.complete(request)
    assert limits.tokens._level == pytest.approx(10**6 - DONE.tokens, abs=600)  # it refills while we test


async def test_the_breaker_pauses_everybody_with_one_line_then_one_call_tries(caplog):
    caplog.set_level(logging.WARNING)
    inner = Script(*[down() for _ in range(4)])
    limits = limited(concurrency=50, breaker_failures=3, breaker_seconds=0.1)
    client = LimitedClient(inner, limits)
    for _ in range(3):
        with pytest.raises(LLMError):
            await client.complete(ask("x"))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "executor openai test-model http://127.0.0.1:9/v1 has failed 3 times in a row: all its calls" in lines[0]
    started = time.monotonic()
    results = await asyncio.gather(*(client.complete(ask("x")) for _ in range(20)), return_exceptions=True)
    assert 0.25 < time.monotonic() - started < 60, "0.1 s, then 0.2 s after the trial call failed too"
    assert sum(isinstance(result, LLMError) for result in results) == 1, "one call paid for the trial"
    (last,) = [record.getMessage() for record in caplog.records][2:]
    assert last.endswith("/v1 answers again after 0 s")


async def test_a_trial_call_that_is_cancelled_lets_another_try():
    """A call that gives up while it tries a provider that is down leaves its place to the next."""
    breaker = Breaker("test", failures=1, pause=0.01)
    with pytest.raises(LLMError):
        await breaker.call(lambda: Script(down()).complete(ask("x")))
    slow = Script(seconds=60)
    trial = asyncio.create_task(breaker.call(lambda: slow.complete(ask("x"))))
    waiting = asyncio.create_task(breaker.call(lambda: Script().complete(ask("x"))))
    await asyncio.sleep(0.1)
    assert slow.running == 1
    assert not waiting.done()
    trial.cancel()
    assert await waiting == DONE


async def test_a_prompt_that_is_too_long_takes_no_tokens_and_shows_the_provider_alive():
    """Else one workflow with a giant prompt would stop all calls for minutes."""
    limits = limited(tokens_per_minute=6000)
    with pytest.raises(PromptTooLong):
        await LimitedClient(Script(PromptTooLong("too long")), limits).complete(ask("x" * 400_000))
    assert limits.tokens._level == 6000
    with pytest.raises(LLMError, match="connection") as caught:
        await LimitedClient(Script(refused()), limits).complete(ask("x"))
    assert caught.value.kind == "connection", "not `unreachable`: the server has answered"


async def test_replies_without_a_text_do_not_open_the_breaker():
    """A workflow that asks for nothing cannot stop the calls of all others."""
    breaker = Breaker("test", failures=2, pause=60)
    for _ in range(5):
        with pytest.raises(LLMError):
            await breaker.call(lambda: Script(LLMError("malformed", "", bill="told", billed=DONE)).complete(ask("x")))
    assert not breaker._pause


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation", "invalid_prompt"])
def test_a_prompt_that_a_filter_stops_is_refused_and_no_fault_of_the_config(code):
    error = status_error(400, code, "The prompt was filtered", {}, ask("x"))
    assert isinstance(error, LLMError)
    assert (error.kind, error.unanswered, error.bill) == ("refused", True, "none")


@pytest.mark.parametrize("kind", ["refused", "bad_request", "no_text"])
async def test_errors_that_show_a_provider_alive_do_not_open_the_breaker(kind):
    """Only failures of the provider's health, in a row, are a reason to wait."""
    breaker = Breaker("test", failures=2, pause=60)
    inner = Script(*[error for _ in range(5) for error in (LLMError(kind, "no"), down())])
    for _ in range(10):
        with pytest.raises(LLMError):
            await breaker.call(lambda: inner.complete(ask("x")))
    assert not breaker._pause


def refused() -> LLMError:
    return LLMError("connection", "refused")


async def test_a_server_that_never_answered_is_not_waited_for():
    """Tries come at even waits, and once they took ten seconds every other call fails without one."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    now = [0.0]
    breaker = Breaker("test", failures=3, pause=60, clock=lambda: now[0])
    limits = limited()
    limits.breaker = breaker
    inner = Script(*[refused() for _ in range(99)])
    client = RetryingClient(LimitedClient(inner, limits), 6, 1.0, 60.0, sleep)
    with pytest.raises(LLMError, match="test has never answered") as caught:
        await client.complete(ask("x"))
    assert caught.value.fatal
    assert waits == [1.0] * 5
    now[0] = 10.1
    with pytest.raises(LLMError, match="never answered"):
        await client.complete(ask("x"))
    assert inner.calls == 6


async def test_a_server_that_has_answered_is_waited_for():
    """The same failure, of a server that was there before, is a pause and no end."""
    limits = limited(breaker_failures=3, breaker_seconds=0.01)
    client = RetryingClient(LimitedClient(Script(None, *[refused() for _ in range(4)]), limits), 6, 0.001, 0.001)
    assert await client.complete(ask("x")) == DONE
    assert await client.complete(ask("x")) == DONE
