# SPDX-License-Identifier: Apache-2.0
"""What a user adds to each request reaches any server, decides under which key a completion is kept, holds no key."""

from typing import Any

import pytest

from aflow_env.cli.compose import load
from aflow_env.errors import ConfigError
from aflow_env.llm import build_client
from aflow_env.llm.prices import say_once
from tests.llm.helpers import KINDS, MemoryLog, ask, budget, config
from tests.llm.server import serve

OPENAI = ("executor=openai", "executor.base_url=http://localhost:1/v1", "executor.model=m")
EXTRAS: dict[str, Any] = {
    "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
    "headers": {"X-Team": "search"},
    "query": {"api-version": "2024-10-21"},
    "stop": ["END"],
}


@pytest.mark.parametrize("kind", KINDS)
async def test_extras_are_sent_as_they_are(kind: str) -> None:
    """Body, headers, query and stops of the config are in the request, beside our own parts."""
    more = {"top_p": 0.9} if kind == "openai" else {}
    async with serve() as (address, books):
        client = build_client(config(kind, address, **EXTRAS, **more), budget=budget(), log=None, seed=0)
        await client.complete(ask("hello", stop=("STOP",)))
        await client.aclose()
    [(path, headers, body)] = books.requests
    assert path.endswith("?api-version=2024-10-21")
    assert headers["x-team"] == "search"
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["stop" if kind == "openai" else "stop_sequences"] == ["STOP", "END"]
    assert body.get("top_p") == more.get("top_p")
    assert body["messages"][-1]["role"] == "user"


async def test_a_model_without_a_temperature_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """Of any number of clients one warns that the temperatures of the config are not sent."""
    say_once.cache_clear()
    for _ in range(2):
        node = config("openai", send_temperature=False)
        await build_client(node, budget=budget(), log=None, seed=0).aclose()
    assert caplog.text.count("takes no temperature") == 1


async def test_a_key_goes_into_the_header_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure takes the bare key as api-key, and no Authorization beside it."""
    monkeypatch.setenv("AZURE_KEY", "secret-of-azure")
    async with serve() as (address, books):
        node = config("openai", address, api_key_variable="AZURE_KEY", api_key_header="api-key", query=EXTRAS["query"])
        client = build_client(node, budget=budget(), log=None, seed=0)
        await client.complete(ask("hello"))
        await client.aclose()
    [(_, headers, _)] = books.requests
    assert headers["api-key"] == "secret-of-azure"
    assert "authorization" not in headers


@pytest.mark.parametrize("name", [*EXTRAS, "top_p"])
async def test_extras_are_part_of_the_key_of_what_is_kept(name: str) -> None:
    """A completion that was asked with other extras is never taken for this one."""
    kept = MemoryLog()
    async with serve() as (address, books):
        for keys in ({}, {name: {**EXTRAS, "top_p": 0.5}[name]}, {}):
            client = build_client(config("openai", address, **keys), budget=budget(), log=kept, seed=0)
            await client.complete(ask("hello"))
            await client.aclose()
    assert len(books.requests) == len(kept.kept) == 2


@pytest.mark.parametrize(
    ("override", "fix"),
    [
        ("executor.headers={Authorization: x}", "name the variable in api_key_variable"),
        ("executor.headers={api-key: x}", "api_key_header=api-key"),
        ("executor.headers={X-API-Key: x}", "api_key_header"),
        ("executor.headers={X-Other: sk-abcdefghijklmnopqrstu}", "holds a key"),
        ("executor.headers={X-Other: Bearer 123}", "holds a key"),
        ("executor.query={key: x}", "holds a key"),
        ("executor.query={code: the-planted-secret}", "holds a key"),
        ("executor.extra_body={deep: [{er: the-planted-secret}]}", "extra_body.deep.er holds a key"),
        ("executor.extra_body={api_key: x}", "holds a key"),
        ("executor.extra_body={temperature: 1}", "leave it out of extra_body"),
        ("executor.extra_body={stream: true}", "leave it out of extra_body"),
        (r"executor.headers={a\ b: x}", "is no header"),
        ("executor.top_p=0", "top_p=0"),
        ("executor.base_url=notaurl", "base_url='notaurl' is no address: write http://HOST:PORT"),
        ("executor.base_url=http://localhost:99999/v1", "port of 1 to 65535"),
        ("executor.base_url=http://localhost:x/v1", "is no address"),
        ("executor.base_url=ftp://localhost/v1", "is no address"),
        ("executor.base_url='http://a b/v1'", "is no address"),
        ("executor.base_url='http://h/v1?api-version=1'", "query={api-version"),
        ("policy.base_url=notaurl", "policy.base_url: base_url='notaurl' is no address"),
        ("executor.max_tokens=10000000000", "executor.max_tokens=10000000000"),
        ("executor.concurrency=-1", "executor.concurrency=-1"),
        ("executor.timeout_seconds=inf", "executor.timeout_seconds=inf"),
        ("executor.temperature=nan", "executor.temperature=nan"),
        ("budget.usd=inf", "should be a finite number"),
        ("budget.usd=nan", "budget.usd=nan"),
        ("budget.tokens=1" + "0" * 30, "less than or equal to"),
    ],
)
def test_what_cannot_be_or_must_not_be_stored_is_refused_with_the_fix(
    override: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses, numbers and keys are checked before anything is stored or sent; the text shows no secret."""
    monkeypatch.setenv("SOME_TOKEN", "the-planted-secret")
    with pytest.raises(ConfigError) as caught:
        load([*OPENAI, override])
    assert fix in str(caught.value)
    assert "planted" not in str(caught.value)
    assert "abcdefghij" not in str(caught.value)


def test_a_key_of_a_file_is_refused_where_the_config_repeats_it(tmp_path: Any) -> None:
    """The key that is sent anyway stands nowhere else in the config."""
    file = tmp_path / "key"
    file.write_text("unusual key-shape".replace(" ", "-"))
    file.chmod(0o600)
    node = config("openai", api_key_file=str(file), headers={"X-Also": "unusual-key-shape"})
    with pytest.raises(ConfigError, match="headers holds the API key") as caught:
        build_client(node, budget=budget(), log=None, seed=0)
    assert "unusual" not in str(caught.value)


@pytest.mark.parametrize("name", [*EXTRAS, "top_p"])
def test_extras_of_a_kind_that_sends_nothing_are_refused(name: str) -> None:
    """A key that would do nothing is an error."""
    with pytest.raises(ValueError, match=f"{name}: kind=simulated sends none"):
        config("simulated", base_url=None, **{name: {**EXTRAS, "top_p": 0.5}[name]})
