# SPDX-License-Identifier: Apache-2.0
"""Both real clients against a server that fails: nothing is lost, nothing is invented, and the books agree."""

import asyncio
import time

import pytest

from aflow_env.llm import build_client
from aflow_env.llm.budget import Spend
from aflow_env.llm.client import LLMError, Message, PromptTooLong, Request
from aflow_env.llm.prices import Price
from tests.llm.helpers import KINDS, ask, budget, config, priced
from tests.llm.server import FAULTS, TURNED_AWAY, UNKNOWN_BILL, answer, serve, thirty_percent, usage

PRICE = Price(input=3, output=15)
CALLS = 200


@pytest.mark.parametrize("kind", KINDS)
async def test_with_faults_in_30_percent_of_calls_all_completions_are_right_and_the_books_agree(kind, tmp_path):
    requests = [ask(f"{kind} question {k} " + "x" * (k % 11), max_tokens=64) for k in range(CALLS)]
    account = budget(usd=10.0, tokens=10**7, calls=10**4)
    async with serve(thirty_percent, drip_seconds=60) as (address, books):
        settings = config(kind, address, timeout_seconds=4, breaker_seconds=0.05, concurrency=12, **priced(tmp_path))
        client = build_client(settings, budget=account, log=None, seed=1)
        completions = await asyncio.gather(*(client.complete(request) for request in requests))
        await client.aclose()

    prompts = [request.messages[0].content for request in requests]
    assert [completion.text for completion in completions] == [answer(prompt) for prompt in prompts]
    assert [(c.input_tokens, c.output_tokens) for c in completions] == [usage(prompt) for prompt in prompts]
    assert set(books.faults) == set(FAULTS), "the plan must use every fault"
    assert 0.2 < books.faults.total() / books.attempts.total() < 0.4
    assert books.hung_up == books.faults["drip"], "a time-out closes the connection"

    told = Spend(sum(PRICE.cost(*counts) for counts in books.billed), sum(map(sum, books.billed)), len(books.billed))
    doubtful = [request for prompt in books.unknown for request in [ask(prompt, max_tokens=64)]]
    unknown = Spend(
        sum(PRICE.worst(request) for request in doubtful),
        sum(request.input_bound + request.output_bound for request in doubtful),
        len(doubtful),
    )
    assert account.totals.certain == told
    assert account.totals.uncertain == unknown
    assert account.totals.reserved == Spend()
    assert told.calls == CALLS + books.faults["empty"] + books.faults["null"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_that_does_not_pass_is_an_error_of_its_kind_and_never_a_text(kind, fault, tmp_path):
    async with serve(lambda prompt, attempt: fault, drip_seconds=60) as (address, books):
        seconds = 0.5 if fault == "drip" else 20.0
        settings = config(kind, address, timeout_seconds=seconds, max_attempts=2, **priced(tmp_path))
        client = build_client(settings, budget=budget(), log=None, seed=0)
        with pytest.raises(LLMError) as caught:
            await client.complete(ask("hello"))
        await client.aclose()
    expected = {
        "429": "rate_limited", "429_wait": "rate_limited", "500": "server_error", "529": "overloaded",
        "reset": "connection", "reset_midway": "connection", "drip": "timeout",
    }  # fmt: skip
    assert caught.value.kind == expected.get(fault, "malformed")
    assert caught.value.retryable
    assert books.attempts["hello"] == 2, "bounded, and no library adds retries of its own"
    assert caught.value.bill == ("none" if fault in TURNED_AWAY else "unknown" if fault in UNKNOWN_BILL else "told")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "error", "fatal"),
    [
        ("401", "authentication", True), ("403", "authentication", True), ("402", "quota", True),
        ("429:insufficient_quota", "quota", True), ("404", "not_found", True), ("400", "bad_request", False),
        ("422", "bad_request", False),
    ],
)  # fmt: skip
async def test_what_cannot_pass_is_not_asked_again(kind, status, error, fatal):
    async with serve(lambda prompt, attempt: f"status:{status}") as (address, books):
        client = build_client(config(kind, address), budget=budget(), log=None, seed=0)
        with pytest.raises(LLMError) as caught:
            await client.complete(ask("hello"))
        await client.aclose()
    assert (caught.value.kind, caught.value.fatal, caught.value.request_id) == (error, fatal, "req-1")
    assert books.attempts["hello"] == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_prompt_that_does_not_fit_is_the_workflows_fault_and_costs_nothing(kind):
    account = budget()
    async with serve(lambda prompt, attempt: "status:400:context_length_exceeded") as (address, _):
        client = build_client(config(kind, address), budget=account, log=None, seed=0)
        with pytest.raises(PromptTooLong):
            await client.complete(ask("hello"))
        await client.aclose()
    assert account.totals.spent == Spend()


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_listens_is_an_error_that_says_what_to_check_and_costs_nothing(kind):
    """An address that never answered is fatal after a few tries, and the text names it."""
    account = budget()
    client = build_client(config(kind, max_attempts=2), budget=account, log=None, seed=0)
    with pytest.raises(LLMError, match=r"127\.0\.0\.1:9.* has never answered .*is the server up") as caught:
        await client.complete(ask("hello"))
    await client.aclose()
    assert (caught.value.kind, caught.value.fatal) == ("unreachable", True)
    assert account.totals.spent == Spend()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_call_hangs_up_and_its_bill_is_unknown(kind):
    account = budget()
    async with serve(lambda prompt, attempt: "drip", drip_seconds=60) as (address, books):
        client = build_client(config(kind, address), budget=account, log=None, seed=0)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.complete(ask("hello")), timeout=0.3)
        assert time.monotonic() - started < 30
        for _ in range(100):
            if books.hung_up:
                break
            await asyncio.sleep(0.02)
        await client.aclose()
    assert books.hung_up == 1
    assert account.totals.uncertain.calls == 1
    assert account.totals.reserved == Spend()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_empty_reply_is_an_answer_only_where_the_config_says_so(kind):
    async with serve(lambda prompt, attempt: "empty") as (address, books):
        client = build_client(config(kind, address, accept_empty=True), budget=budget(), log=None, seed=0)
        assert (await client.complete(ask("hello"))).text == ""
        await client.aclose()
    assert books.attempts["hello"] == 1


async def test_openai_sends_a_seed_per_draw_and_what_the_config_renames():
    async with serve() as (address, books):
        settings = config("openai", address, max_tokens_field="max_completion_tokens", effort="low")
        client = build_client(settings, budget=budget(), log=None, seed=3)
        for sample in (0, 1):
            await client.complete(ask("hello", temperature=0.5, max_tokens=9, sample=sample, stop=("END",)))
        await client.aclose()
    first, second = (body for _, _, body in books.requests)
    assert first["max_completion_tokens"] == 9
    assert "max_tokens" not in first
    assert (first["temperature"], first["stop"], first["reasoning_effort"]) == (0.5, ["END"], "low")
    assert first["seed"] != second["seed"]


async def test_anthropic_sends_no_temperature_marks_the_prefix_and_prices_the_cache_apart(tmp_path):
    turns = [("system", "rules"), ("user", "one"), ("assistant", "two"), ("user", "three")]
    request = Request(messages=tuple(Message(role=r, content=c) for r, c in turns), temperature=0.5, max_tokens=50)
    async with serve() as (address, books):
        client = build_client(config("anthropic", f"{address}/v1", effort="low"), budget=budget(), log=None, seed=0)
        await client.complete(request)
        await client.aclose()
        old = build_client(config("anthropic", address, send_temperature=True), budget=budget(), log=None, seed=0)
        await old.complete(request)
        await old.aclose()
    (path, headers, body), (_, old_headers, old_body) = books.requests
    assert path == "/v1/messages"
    assert "temperature" not in body
    assert headers["anthropic-version"] == "2026-10-21"
    assert (old_body["temperature"], old_headers["anthropic-version"]) == (0.5, "2023-06-01")
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert ["cache_control" in turn["content"][0] for turn in body["messages"]] == [False, True, False]
    assert body["output_config"] == {"effort": "low"}
