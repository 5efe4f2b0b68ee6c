# SPDX-License-Identifier: Apache-2.0
"""Replies as servers really send them: good ones are answers, all others are errors, and none is read without end."""

import asyncio
import gzip
import json
import time
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aflow_env.llm import build_client
from aflow_env.llm.budget import Spend
from aflow_env.llm.client import Completion, LLMError, PromptTooLong, Request
from aflow_env.llm.providers.answer import LARGEST
from tests.llm.helpers import KINDS, ask, budget, config, priced
from tests.llm.server import saying

PROMPT = "2 + 3 = ?"
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "2 + 3"}]}


def openai(content: Any = "5", finish: Any = "stop", usage: Any = (9, 1), **more: Any) -> dict[str, Any]:
    """A chat completion."""
    counts = (
        dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True)) if isinstance(usage, tuple) else usage
    )
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": counts, **more}


async def outcome(body: Any, kind: str = "openai", request: Request | None = None, status: str = "200 OK", **keys: Any):
    """What one attempt comes to: a completion or an error; and the account."""
    account = budget()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with saying(status, raw, *keys.pop("head", ())) as (address, _):
        client = build_client(config(kind, address, max_attempts=1, **keys), budget=account, log=None, seed=0)
        try:
            return await client.complete(request or ask(PROMPT)), account.totals
        except (LLMError, PromptTooLong) as error:
            return error, account.totals
        finally:
            await client.aclose()


GOOD = {
    "TGI: eos_token": openai(finish="eos_token"),
    "eos": openai(finish="eos"),
    "Ollama: empty reason": openai(finish=""),
    "null reason": openai(finish=None),
    "Claude behind a gateway": openai(finish="end_turn"),
    "a reason that nobody has heard of": openai(finish="because"),
    "upper case": openai(finish="STOP"),
    "Mistral: thinking in parts": openai([THINKING, {"type": "text", "text": "5"}]),
    "parts that are texts": openai(["5"]),
    "reasoning apart": openai() | {"choices": [{"message": {"content": "5", "reasoning_content": "2 + 3 is 5"}}]},
    "no usage": openai(usage=None),
    "empty usage": openai(usage={}),
    "a prompt of no tokens": openai(usage=(0, 1)),
    "a gateway's own system prompt": openai(usage=(30_000, 1)),
    "no model": openai(model=None),
    "an error that is none": openai(error=None),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(openai()).encode(),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_whole_reply_is_an_answer_in_every_dialect(name: str) -> None:
    """Each of these is what some server sends for a good answer; none is asked again."""
    completion, _ = await outcome(GOOD[name])
    assert isinstance(completion, Completion), completion
    assert (completion.text, completion.stop_reason) == ("5", "stop")


@pytest.mark.parametrize(
    ("reply", "stop"),
    [(openai(finish=name), "length") for name in ("length", "max_tokens", "model_length", "MAX_TOKENS")]
    + [(openai("5" * 64, None, (9, 64)), "length"), (openai("5", None, (9, 63)), "stop")],
)
async def test_a_cut_reply_is_known_by_its_reason_or_by_its_count(reply: Any, stop: str) -> None:
    """A reply without a reason that took all of max_tokens was cut."""
    completion, _ = await outcome(reply, request=ask(PROMPT, max_tokens=64))
    assert completion.stop_reason == stop


async def test_a_lone_surrogate_and_broken_utf8_are_replaced() -> None:
    """Half an emoji in a reply is no reason to throw the reply away."""
    completion, _ = await outcome(json.dumps(openai("5 \ud83d")).encode())
    assert completion.text == "5 ?"
    completion, _ = await outcome(json.dumps(openai("5 X")).encode().replace(b"X", b"\xff"))
    assert completion.text == "5 \ufffd"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (openai(finish="content_filter"), "refused"),
        (openai(finish="error"), "malformed"),
        (openai(finish="insufficient_system_resource"), "malformed"),
        (openai(""), "malformed"),
        (openai(None), "malformed"),
        (openai([THINKING]), "malformed"),
        (openai("", "length"), "no_text"),
        (openai({"text": "5"}), "malformed"),
        (openai(usage=(9, -1)), "malformed"),
        (openai(usage=(9, 10**9)), "malformed"),
        (openai(usage=(10**9, 1)), "malformed"),
        (openai(usage={"prompt_tokens": "many", "completion_tokens": 1}), "malformed"),
        (openai("5" * 100_000, usage=(9, 5)), "malformed"),
        (openai("5" * 600_000, usage=None), "malformed"),
        (openai(choices=[]), "malformed"),
        (openai(choices={}), "malformed"),
        ({"detail": "Not Found"}, "malformed"),
        ([], "malformed"),
        (b"", "malformed"),
        (b"null", "malformed"),
        (b"<html><body>Sign in</body></html>", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"choices": ' + b"9" * 5000 + b"}", "malformed"),
        ({"error": {"message": "slow down", "code": 429}}, "rate_limited"),
        ({"error": {"message": "slow down", "code": "429"}}, "rate_limited"),
        ({"error": {"message": "slow down", "type": "rate_limit_error"}}, "rate_limited"),
        ({"error": {"message": "Provider returned error", "code": 502}}, "server_error"),
        ({"error": {"message": "no money", "code": "insufficient_quota", "type": 429}}, "quota"),
        ({"object": "error", "message": "no", "code": 400}, "bad_request"),
        ({"error": "upstream is gone"}, "malformed"),
        (openai("", error={"message": "slow down", "code": 429}), "rate_limited"),
        (openai(choices=[{"message": {"content": ""}, "error": {"code": 503, "message": "full"}}]), "overloaded"),
    ],
)
async def test_all_else_is_an_error_of_its_kind(reply: Any, kind: str) -> None:
    """A success in name that holds an error, or nothing, is never a text."""
    error, _ = await outcome(reply)
    assert isinstance(error, LLMError), error
    assert error.kind == kind, error


@pytest.mark.parametrize("kind", KINDS)
async def test_without_usage_a_price_is_an_error_and_no_price_an_estimate(kind: str, tmp_path: Any) -> None:
    """A cost is never made up: tokens are estimated only where they cost nothing, and then count at their worst."""
    reply = openai("12345678", usage=None) | {"content": [{"type": "text", "text": "12345678"}]}
    error, _ = await outcome(reply, kind, **priced(tmp_path))
    assert isinstance(error, LLMError)
    assert "tells no usage" in str(error)
    assert "prices=free" in str(error)
    request = ask(PROMPT)
    completion, totals = await outcome(reply, kind, request)
    assert (completion.counted, completion.input_tokens, completion.output_tokens) == (False, 3, 2)
    assert totals.certain == Spend()
    assert totals.uncertain == Spend(0, request.input_bound + request.output_bound, 1)


async def test_thinking_that_is_counted_in_the_total_alone_is_paid_for(tmp_path: Any) -> None:
    """xAI counts thinking beside completion_tokens."""
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 40, "completion_tokens_details": None}
    usage["completion_tokens_details"] = {"reasoning_tokens": 30}
    completion, _ = await outcome(openai(usage=usage), **priced(tmp_path))
    assert completion.output_tokens == 31
    completion, _ = await outcome(openai(usage=usage | {"completion_tokens": 31}), **priced(tmp_path))
    assert completion.output_tokens == 31


async def test_413_is_the_workflows_fault_only_where_its_prompt_is_long() -> None:
    """A proxy that takes no body at all says nothing about the workflow."""
    error, _ = await outcome(b"<html>Request Entity Too Large</html>", status="413 Too Large")
    assert isinstance(error, LLMError)
    assert error.kind == "bad_request"
    error, _ = await outcome(b"", status="413 Too Large", request=ask("x" * 50_000))
    assert isinstance(error, PromptTooLong)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["", "gzip", "deflate", "br"])
async def test_a_body_without_end_is_cut_while_it_is_read(kind: str, encoding: str) -> None:
    """60 MB, also of 60 KB compressed, are an error at once; what was not asked for is not decompressed."""
    text = b" " * (7 * LARGEST)
    body = {"gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)(text)
    started = time.monotonic()
    error, _ = await outcome(body, kind, head=(f"content-encoding: {encoding}",) if encoding else ())
    assert isinstance(error, LLMError)
    assert (error.kind, error.bill) == ("malformed", "unknown")
    assert ("not asked for" if encoding == "br" else "more than") in str(error)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("kind", KINDS)
async def test_control_codes_of_a_server_do_not_reach_the_terminal(kind: str) -> None:
    """Escape sequences in an error's text, a request id or a model's name are gone."""
    evil = "\x1b]0;owned\x07\x1b[31mred\x9b1m\u202e"
    error, _ = await outcome({"error": {"message": evil, "type": evil}}, kind, status="400 Bad")
    assert str(error).isprintable()
    assert "red" in str(error)
    reply = openai(model=evil) | {"content": [{"type": "text", "text": "5"}], "usage": {"input_tokens": 9}}
    completion, _ = await outcome(reply | {"usage": None}, kind)
    assert completion.model.isprintable()


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ODD = st.fixed_dictionaries(
    {},
    optional={
        "choices": JSONS
        | st.lists(
            st.fixed_dictionaries(
                {}, optional={"message": JSONS | st.fixed_dictionaries({"content": JSONS}), "finish_reason": JSONS}
            )
        ),
        "content": JSONS | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": JSONS})),
        "usage": JSONS
        | st.dictionaries(
            st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"]),
            JSONS,
        ),
        "error": JSONS | st.fixed_dictionaries({}, optional={"message": JSONS, "code": JSONS, "type": JSONS}),
        **dict.fromkeys(("model", "object", "message", "code", "stop_reason"), JSONS),
    },
)
BODIES = (
    st.binary(max_size=200)
    | JSONS.map(lambda plain: json.dumps(plain).encode())
    | ODD.map(lambda plain: json.dumps(plain).encode())
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(body=BODIES, status=st.sampled_from(["200 OK"] * 5 + ["429 Slow", "500 Down", "302 Moved", "413 Large"]))
def test_any_body_is_an_answer_or_an_error_of_the_room(kind: str, body: bytes, status: str) -> None:
    """No bytes as a reply's body end in another exception, or in a text that is not in them."""
    result, _ = asyncio.run(outcome(body, kind, status=status))
    assert isinstance(result, Completion | LLMError | PromptTooLong)
    if isinstance(result, Completion):
        assert result.text


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(raw=st.binary(max_size=200) | st.binary(max_size=80).map(lambda tail: b"HTTP/1.1 200 OK\r\n" + tail))
def test_any_bytes_on_the_wire_are_an_error_of_the_room(kind: str, raw: bytes) -> None:
    """A server that does not even speak HTTP is a failure of the world."""

    async def play() -> object:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        async with server:
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = build_client(config(kind, address, max_attempts=1), budget=budget(), log=None, seed=0)
            try:
                return await client.complete(ask(PROMPT))
            except LLMError as error:
                return error
            finally:
                await client.aclose()

    assert isinstance(asyncio.run(play()), LLMError)
