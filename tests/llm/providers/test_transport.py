# SPDX-License-Identifier: Apache-2.0
"""What the OpenAI client makes of answers that are no answers: redirects, proxies, the many shapes of an error."""

import gzip

import pytest

from aflow_env.llm import build_client
from aflow_env.llm.client import LLMError, PromptTooLong
from aflow_env.llm.providers.openai import environment_proxy
from tests.llm.helpers import ask, budget, config
from tests.llm.server import saying, serve

GOOD = (
    b'{"model": "m", "choices": [{"message": {"content": "four"}, "finish_reason": "stop"}], '
    b'"usage": {"prompt_tokens": 5, "completion_tokens": 1}}'
)


@pytest.fixture(autouse=True)
def _proxies_are_looked_up_anew() -> None:
    environment_proxy.cache_clear()


async def failure(address: str) -> LLMError | PromptTooLong:
    """What one attempt at `address` ends with."""
    client = build_client(config("openai", address, max_attempts=1), budget=budget(), log=None, seed=0)
    try:
        with pytest.raises((LLMError, PromptTooLong)) as caught:
            await client.complete(ask("hello"))
    finally:
        await client.aclose()
    return caught.value


@pytest.mark.parametrize("status", ["301", "307", "308"])
async def test_a_redirect_is_not_followed_and_says_what_to_set(status: str) -> None:
    async with serve(lambda prompt, attempt: f"status:{status}") as (address, books):
        error = await failure(address)
    assert isinstance(error, LLMError)
    assert (error.kind, error.fatal, error.bill) == ("not_found", True, "none")
    assert "has moved to https://elsewhere.example/v1: set base_url" in str(error)
    assert books.attempts["hello"] == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "no such thing", "type": "t", "code": 400}}', "status 400: no such thing"),
        (b'{"object": "error", "message": "no such thing", "code": 400}', "status 400: no such thing"),
        (b'{"detail": "no such thing"}', 'status 400: {"detail": "no such thing"}'),
        (b"<html>no such\n\nthing</html>", "status 400: <html>no such thing</html>"),
        (b"\xff\xfe", "status 400: \ufffd\ufffd"),
        (b"", "status 400"),
    ],
)
async def test_an_error_is_told_in_the_servers_words(body: bytes, said: str) -> None:
    async with saying("400 Bad Request", body) as (address, _):
        error = await failure(address)
    assert isinstance(error, LLMError)
    assert (error.kind, error.bill) == ("bad_request", "none")
    assert said in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "This model\'s maximum context length is 4096 tokens", "type": "BadRequestError"}}',
        b'{"error": {"message": "too much", "code": "context_length_exceeded"}}',
    ],
)
async def test_a_prompt_that_does_not_fit_is_known_by_code_and_by_words(body: bytes) -> None:
    async with saying("400 Bad Request", body) as (address, _):
        assert isinstance(await failure(address), PromptTooLong)


async def test_a_server_that_asks_for_a_wait_in_seconds_is_heard() -> None:
    async with saying("429 Too Many Requests", b"{}", "retry-after: 7") as (address, _):
        error = await failure(address)
    assert isinstance(error, LLMError)
    assert (error.kind, error.retry_after) == ("rate_limited", 7.0)


async def test_a_compressed_answer_is_read() -> None:
    async with saying("200 OK", gzip.compress(GOOD), "content-encoding: gzip") as (address, _):
        client = build_client(config("openai", address), budget=budget(), log=None, seed=0)
        assert (await client.complete(ask("2 + 2?"))).text == "four"
        await client.aclose()


async def test_what_claims_to_be_compressed_and_is_not_has_a_bill_that_nobody_knows() -> None:
    async with saying("200 OK", GOOD, "content-encoding: gzip") as (address, _):
        error = await failure(address)
    assert isinstance(error, LLMError)
    assert (error.kind, error.bill) == ("malformed", "unknown")


async def test_a_call_takes_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with saying("200 OK", GOOD) as (proxy, lines):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "inside.example")
        client = build_client(config("openai", "http://model.example"), budget=budget(), log=None, seed=0)
        assert (await client.complete(ask("2 + 2?"))).text == "four"
        await client.aclose()
    assert lines == [b"POST http://model.example/v1/chat/completions HTTP/1.1"]
    assert environment_proxy("http", "inside.example") is None


async def test_a_proxy_that_refuses_or_is_not_there_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with saying("407 Proxy Authentication Required") as (proxy, _):
        monkeypatch.setenv("https_proxy", proxy)
        refused = await failure("https://model.example")
    absent = await failure("https://model.example")
    for error in (refused, absent):
        assert isinstance(error, LLMError)
        assert (error.kind, error.bill) == ("unreachable", "none")
    assert "the proxy answered with status 407" in str(refused)
