# SPDX-License-Identifier: Apache-2.0
"""A planted key is in no text, log record, exception chain or pickle, even when the server echoes it."""

import base64
import logging
import pickle
import traceback

import pytest
from pydantic import ValidationError

from aflow_env.config import LLMConfig, explain
from aflow_env.errors import ConfigError
from aflow_env.llm import build_client
from aflow_env.llm.client import LLMError
from aflow_env.llm.keys import ApiKey, load_key
from tests.llm.helpers import KINDS, ask, budget, config, priced
from tests.llm.server import FAULTS, serve

PLANTED = "sk-planted-7Qx/+9=secret"
ECHOES = ("status:401", "status:400", "status:500", "not_json")


def everything(error: BaseException | None, depth: int = 0) -> str:
    """All that can be printed of an exception, its attributes and its chain."""
    if error is None or depth > 5:
        return ""
    own = "".join([str(error), repr(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)])
    return own + everything(error.__cause__, depth + 1) + everything(error.__context__, depth + 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [*FAULTS, *ECHOES])
async def test_no_failure_shows_the_key(kind, fault, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("PLANTED_KEY", PLANTED)
    caplog.set_level(logging.DEBUG)
    for name in ("aiohttp", "asyncio", "anthropic", "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    async with serve(lambda prompt, attempt: fault, drip_seconds=60) as (address, books):
        settings = config(
            kind, address, api_key_variable="PLANTED_KEY", timeout_seconds=0.3, max_attempts=2, **priced(tmp_path)
        )
        client = build_client(settings, budget=budget(), log=None, seed=0)
        with pytest.raises(LLMError) as caught:
            await client.complete(ask("hello"))
        await client.aclose()
    assert any(PLANTED in value for _, headers, _ in books.requests for value in headers.values()), "it must be sent"
    assert caught.value.__context__ is None, "a library's exception would carry the request with the key"
    assert PLANTED not in everything(caught.value)
    assert PLANTED not in caplog.text
    assert all(PLANTED not in repr(vars(record)) for record in caplog.records)
    assert PLANTED not in repr(client) + repr(vars(client)) + repr(settings) + settings.model_dump_json()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_in_a_good_reply_is_neither_shown_nor_stored(kind, monkeypatch, caplog):
    """Request id, model name and text of a reply are kept without the key, also where the server encodes it."""
    monkeypatch.setenv("PLANTED_KEY", PLANTED)
    caplog.set_level(logging.DEBUG, logger="anthropic")
    encoded = base64.b64encode(f"user:{PLANTED}".encode()).decode()
    async with serve(lambda prompt, attempt: "echo", model=lambda prompt: f"{PLANTED} {encoded}") as (address, _):
        settings = config(kind, address, api_key_variable="PLANTED_KEY")
        client = build_client(settings, budget=budget(), log=None, seed=0)
        completion = await client.complete(ask("hello"))
        await client.aclose()
    assert "[api key]" in completion.request_id
    assert "[api key]" in completion.model
    assert completion.text == "[api key] dXNlcjp[api key]Q="
    assert PLANTED not in completion.model_dump_json() + caplog.text


def test_a_key_has_no_repr_and_no_pickle_and_is_scrubbed_in_every_spelling():
    key = ApiKey(PLANTED)
    assert PLANTED not in f"{key} {key!r} {[key]}"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    text = key.scrub(f"a {PLANTED} b sk-planted-7Qx%2F%2B9%3Dsecret c")
    assert text == "a [api key] b [api key] c"


def test_a_file_that_is_named_wins_over_the_variable_and_white_space_is_no_part_of_a_key(monkeypatch, tmp_path):
    file = tmp_path / "key"
    file.write_text("from-file\n")
    file.chmod(0o600)
    monkeypatch.setenv("PLANTED_KEY", " from-variable\n")
    settings = config("anthropic", api_key_variable="PLANTED_KEY", api_key_file=str(file))
    assert load_key(settings).reveal() == "from-file"
    assert load_key(settings.model_copy(update={"api_key_file": None})).reveal() == "from-variable"


def test_a_file_that_is_missing_or_empty_is_an_error_whatever_the_variable_holds(monkeypatch, tmp_path):
    monkeypatch.setenv("PLANTED_KEY", "from-variable")
    settings = config("anthropic", api_key_variable="PLANTED_KEY", api_key_file=str(tmp_path / "key"))
    with pytest.raises(ConfigError, match=r"executor\.api_key_file=.*key cannot be read: No such file"):
        load_key(settings)
    (tmp_path / "key").touch(0o600)
    with pytest.raises(ConfigError, match="key holds no API key"):
        load_key(settings)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_file_that_others_can_read_is_refused(tmp_path, mode):
    file = tmp_path / "key"
    file.write_text(PLANTED)
    file.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        load_key(config("anthropic", api_key_file=str(file)))
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("content", [b"two words", b"\xff\xfe", b"bell\x07"])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no API key") as caught:
        load_key(config("anthropic", api_key_file=str(file)))
    assert content.decode("latin-1") not in everything(caught.value)


def test_a_missing_key_is_an_error_at_start_that_names_the_variable(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    settings = LLMConfig(kind="anthropic", model="claude-sonnet-5-5", api_key_variable="ANTHROPIC_API_KEY")
    with pytest.raises(ConfigError, match="export ANTHROPIC_API_KEY"):
        build_client(settings, budget=budget(), log=None, seed=0)


def test_a_server_on_plain_http_needs_no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert load_key(config("openai", api_key_variable="OPENAI_API_KEY")).reveal() == "no-key-needed"


@pytest.mark.parametrize(
    "wrong", [{"api_key_variable": PLANTED}, {"base_url": f"http://user:{PLANTED}@host/v1"}], ids=["variable", "url"]
)
def test_a_key_in_the_config_is_refused_without_repeating_it_in_the_reason(wrong):
    with pytest.raises(ValidationError) as caught:
        LLMConfig.model_validate({"kind": "openai", "model": "m", "base_url": "http://localhost/v1", **wrong})
    assert PLANTED not in explain(caught.value, "executor")
