# SPDX-License-Identifier: Apache-2.0
"""The Message Batches API through the real SDK: calls side by side are a batch, at half the price, none paid twice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aflow_env.config import LLMConfig
from aflow_env.llm import LLMClient, build_client
from aflow_env.llm.budget import Budget, Spend
from aflow_env.llm.client import LLMError
from aflow_env.llm.prices import LongPrompt, Price, at_share
from tests.llm.batch_server import BatchServer, serve_batches
from tests.llm.helpers import ask, budget, config
from tests.llm.server import answer, serve, usage
from tests.llm.test_search_through_faults import model, play, settings

PROMPTS = [f"question {k}" for k in range(20)]
HALF = Price(input=1.5, output=7.5)


def client(server: BatchServer, folder: Path, account: Budget, **keys: Any) -> LLMClient:
    prices = folder / "prices.yaml"
    prices.write_text("models: {test-model: {input: 3, output: 15}}")
    quick = {"batch": True, "batch_seconds": 0.2, "batch_poll_seconds": 0.05, "concurrency": 50, "prices": str(prices)}
    node = config("anthropic", server.address, **quick, **keys)
    return build_client(node, budget=account, log=None, seed=0, batches=folder / "batches.sqlite")


async def test_calls_side_by_side_are_one_batch_at_half_the_price(tmp_path: Path) -> None:
    account = budget(usd=1)
    with serve_batches(BatchServer()) as server:
        batched = client(server, tmp_path, account, send_temperature=True)
        replies = await asyncio.gather(*(batched.complete(ask(prompt, temperature=0.5)) for prompt in PROMPTS))
        await batched.aclose()
    assert [reply.text for reply in replies] == [answer(prompt) for prompt in PROMPTS]
    [requests] = server.batches.values()
    assert len(requests) == len({request["custom_id"] for request in requests}) == 20
    assert requests[0]["params"]["temperature"] == 0.5
    counts = [usage(prompt) for prompt in PROMPTS]
    assert account.totals.certain == Spend(sum(HALF.cost(*each) for each in counts), sum(map(sum, counts)), 20)
    assert account.totals.uncertain == Spend()


async def test_a_killed_run_finds_its_batch_again(tmp_path: Path) -> None:
    with serve_batches(BatchServer(open=False)) as server:
        first = client(server, tmp_path, budget())
        waiting = [asyncio.create_task(first.complete(ask(prompt))) for prompt in PROMPTS]
        await asyncio.to_thread(server.polled.wait, 20)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await first.aclose()

        server.open = True
        second = client(server, tmp_path, budget())
        replies = await asyncio.gather(*(second.complete(ask(prompt)) for prompt in [*PROMPTS, "a new one"]))
        await second.aclose()
    assert [reply.text for reply in replies] == [answer(prompt) for prompt in [*PROMPTS, "a new one"]]
    assert [len(requests) for requests in server.batches.values()] == [20, 1]


@pytest.mark.parametrize("outcome", ["overloaded_error", "rate_limit_error", "api_error", "expired", "canceled"])
async def test_what_a_batch_did_not_answer_goes_into_the_next(tmp_path: Path, outcome: str) -> None:
    account = budget()
    fails = BatchServer(outcome=lambda prompt, attempt: outcome if prompt == "question 3" and not attempt else "")
    with serve_batches(fails) as server:
        batched = client(server, tmp_path, account)
        replies = await asyncio.gather(*(batched.complete(ask(prompt)) for prompt in PROMPTS))
        await batched.aclose()
    assert [reply.text for reply in replies] == [answer(prompt) for prompt in PROMPTS]
    assert [len(requests) for requests in server.batches.values()] == [20, 1]
    assert (account.totals.certain.calls, account.totals.uncertain.calls) == (20, 0)


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("invalid_request_error", "bad_request"), ("authentication_error", "authentication"), ("billing_error", "quota")],
)
async def test_what_no_batch_will_answer_is_an_error_of_its_kind(tmp_path: Path, outcome: str, kind: str) -> None:
    with serve_batches(BatchServer(outcome=lambda prompt, attempt: outcome)) as server:
        batched = client(server, tmp_path, budget())
        with pytest.raises(LLMError) as caught:
            await batched.complete(ask("hello"))
        await batched.aclose()
    assert caught.value.kind == kind
    assert len(server.batches) == 1


async def test_a_server_without_batches_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with serve(lambda prompt, attempt: "status:404") as (address, _):
        batched = client(BatchServer(address=f"{address}/nowhere"), tmp_path, budget(), max_attempts=1)
        with pytest.raises(LLMError):
            await batched.complete(ask("hello"))
        await batched.aclose()


async def test_a_search_in_batches_finds_what_a_search_call_by_call_finds(tmp_path: Path) -> None:
    async with serve(model=model) as (address, _):
        single, _, totals = await play(settings("anthropic", address, tmp_path / "single"))
    with serve_batches(BatchServer(model=model)) as server:
        batch = ("executor.batch=true", "executor.batch_seconds=0.1", "executor.batch_poll_seconds=0.05")
        batched, _, half = await play(settings("anthropic", server.address, tmp_path / "batched", *batch))
    assert [(n.digest, n.score) for n in batched.tree] == [(n.digest, n.score) for n in single.tree]
    assert half.certain.calls == totals.certain.calls == sum(map(len, server.batches.values()))
    assert 2 * half.certain.picos == totals.certain.picos
    assert len(server.batches) < half.certain.calls / 4


def test_a_share_of_a_price_is_a_share_of_every_rate() -> None:
    price = Price(input=3, output=15, cache_read=0.3, long_prompt=LongPrompt(above=9, input=6, output=30))
    half = at_share(price, 0.5)
    for tokens in ((4, 5, 2, 1), (40, 5, 2, 1)):
        assert 2 * half.cost(*tokens) == price.cost(*tokens)


def test_batches_are_anthropics() -> None:
    with pytest.raises(ValueError, match="batch=false"):
        LLMConfig(kind="openai", model="m", base_url="http://localhost:1/v1", batch=True)
