# SPDX-License-Identifier: Apache-2.0
"""`serve`: real server processes, asked by the openai SDK and by plain HTTP."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.conftest import Command
from tests.cli.verbs.working import Served, executor, served, two_calls
from tests.llm.server import serve_beside

openai = pytest.importorskip("openai", reason="needs the openai SDK: make setup")
pytest.importorskip("uvicorn", reason="needs uvicorn: make setup")

STORY = "Mia has 12 apples. She buys 7 more. How many apples does Mia have now?"
KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def server(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A run's best workflow, SIMULATED, behind a key."""
    folder = tmp_path_factory.mktemp("serve")
    with served(finished, folder, "--api-key-variable", "CLIENTS_KEY", CLIENTS_KEY=KEY) as found:
        yield found


def client(server: Served, key: str = KEY) -> "openai.OpenAI":
    return openai.OpenAI(base_url=server.address, api_key=key, max_retries=0)


def ask(server: Served, problem: str, **more: object) -> httpx.Response:
    body = {"model": server.model, "messages": [{"role": "user", "content": problem}], **more}
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(f"{server.address}/chat/completions", json=body, headers=headers, timeout=60)


def test_the_openai_sdk_works(server: Served) -> None:
    """A model is found by its list, and answers a chat with text, usage and cost."""
    sdk = client(server)
    (model,) = sdk.models.list().data
    assert sdk.models.retrieve(model.id).id == model.id == server.model
    said = sdk.chat.completions.create(model=model.id, messages=[{"role": "user", "content": STORY}], temperature=0.3)
    assert said.choices[0].finish_reason == "stop"
    assert any(character.isdigit() for character in said.choices[0].message.content)
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens > 0
    assert said.model_extra["aflow"]["cost_usd"] > 0
    assert "SIMULATED executor" in server.log.read_text()


def test_a_seed_names_the_draw(server: Served) -> None:
    """The same seed gets the same answer, so a client can repeat what it was told."""
    answers = [ask(server, STORY, seed=5).json()["choices"][0]["message"]["content"] for _ in range(2)]
    assert answers[0] == answers[1]


def test_a_stream_is_the_answer_and_its_usage(server: Served) -> None:
    """Clients that only stream get the final answer as one chunk, then its end, then the usage."""
    turns = [{"role": "user", "content": STORY}]
    stream = client(server).chat.completions.create(
        model=server.model, messages=turns, stream=True, stream_options={"include_usage": True}, seed=5
    )
    parts = list(stream)
    texts = [part.choices[0].delta.content for part in parts if part.choices]
    assert texts == [ask(server, STORY, seed=5).json()["choices"][0]["message"]["content"], None]
    assert parts[-1].usage.total_tokens > 0


def test_wrong_requests_are_errors_that_the_sdk_knows(server: Served) -> None:
    """Each refusal is OpenAI's own kind of error, so a client's handling of errors works."""
    turns = [{"role": "user", "content": STORY}]
    with pytest.raises(openai.AuthenticationError, match="key"):
        client(server, "wrong").models.list()
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
        client(server).chat.completions.create(model="gpt", messages=turns)
    with pytest.raises(openai.BadRequestError, match="last message"):
        client(server).chat.completions.create(model=server.model, messages=[{"role": "assistant", "content": "x"}])
    with pytest.raises(openai.BadRequestError, match="n=2"):
        client(server).chat.completions.create(model=server.model, messages=turns, n=2)


def test_what_no_client_of_ours_sends_is_turned_away(server: Served) -> None:
    """A request that is too large, a foreign page's form, another host's name, another path: errors in one format."""
    large = ask(server, "x" * 2_000_000)
    form = httpx.post(f"{server.address}/chat/completions", content=b"{}", headers={"content-type": "text/plain"})
    headers = {"authorization": f"Bearer {KEY}"}
    form_with_key = httpx.post(
        f"{server.address}/chat/completions", content=b"{}", headers={**headers, "content-type": "text/plain"}
    )
    rebound = httpx.get(f"{server.address}/models", headers={**headers, "host": "evil.example"})
    lost = httpx.get(f"{server.address}/embeddings", headers=headers)
    bare = httpx.post(f"{server.address}/chat/completions", content=b"{}", headers=headers)
    no_json = [
        httpx.post(f"{server.address}/chat/completions", content=content, headers={**headers, "content-type": kind})
        for content, kind in (
            (b"", "application/json"),
            (b"[]", "application/json; charset=utf-8"),
            (b"{", "Application/JSON"),
        )
    ]
    replies = {large: 413, form: 401, form_with_key: 415, bare: 415, rebound: 403, lost: 404} | dict.fromkeys(
        no_json, 400
    )
    assert {reply: reply.status_code for reply in replies} == replies
    assert all({"message", "type", "param", "code"} == set(reply.json()["error"]) for reply in replies)
    assert all("has to be a JSON object" in reply.json()["error"]["message"] for reply in no_json)


def test_options_of_a_stream_that_is_none_are_ignored(server: Served) -> None:
    """A client may send them always; the usage is in the one reply."""
    said = ask(server, STORY, stream_options={"include_usage": True}, seed=5)
    assert said.status_code == 200
    assert said.json()["usage"]["total_tokens"] > 0


def test_failures_say_whose_they_are(tmp_path: Path) -> None:
    """The workflow's failure is no server error, which clients would pay for again; a ceiling and the world say so."""

    def plan(prompt: str, attempt: int) -> str:
        return "500" if "down" in prompt else ""

    with serve_beside(plan) as (address, books):
        folder = two_calls(tmp_path / "workflow")
        limits = (*executor(address), "executor.max_attempts=1", "--request-calls", 2)
        with served(folder, tmp_path / "one", *limits) as server:
            good = ask(server, "a question")
            assert good.json()["usage"]["completion_tokens"] == sum(reply for _, reply in books.billed), "of both calls"
            failed, down = ask(server, "fail"), ask(server, "the server is down")
        with served(folder, tmp_path / "two", *executor(address), "--request-calls", 1) as server:
            ceiling = ask(server, "another question")
            again = ask(server, "another question")
    assert (good.status_code, good.json()["aflow"]["calls"]) == (200, 2)
    assert (failed.status_code, failed.json()["error"]["code"]) == (422, "crash")
    assert "too hard" in failed.json()["error"]["message"]
    assert (down.status_code, down.json()["error"]["code"]) == (503, "executor_unavailable")
    assert (ceiling.status_code, ceiling.json()["error"]["code"]) == (402, "budget_exceeded")
    assert "--request-calls" in ceiling.json()["error"]["message"]
    assert again.status_code == 402, "a request's ceiling is its own"


async def test_a_client_that_hangs_up_frees_its_place_and_too_many_are_turned_away(tmp_path: Path) -> None:
    """One at a time here: two wait, the fourth is told to come later; whoever hangs up is not worked for."""

    def plan(prompt: str, attempt: int) -> str:
        return "drip" if "slow" in prompt else ""

    with serve_beside(plan) as (address, books):
        folder = two_calls(tmp_path / "workflow")
        with served(folder, tmp_path / "one", *executor(address), "--concurrency", 1) as server:

            async def send(problem: str) -> int:
                body = {"model": server.model, "messages": [{"role": "user", "content": problem}]}
                async with httpx.AsyncClient(timeout=60) as web:
                    return (await web.post(f"{server.address}/chat/completions", json=body)).status_code

            waiting = []
            for number in range(3):
                waiting.append(asyncio.create_task(send(f"slow {number}")))
                await asyncio.sleep(0.3)
            assert await send("one too many") == 429
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert await send("a quick one") == 200
            await asyncio.sleep(0.5)
            assert books.hung_up == 1, "the call of a client that is gone went on"


def test_a_server_that_would_be_open_or_cannot_listen_says_so(
    aflow: Command, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else's machine may spend money without a key; a port in use is the user's to change."""
    monkeypatch.delenv("CLIENTS_KEY", raising=False)
    assert "--api-key-variable" in aflow("serve", finished, "--host", "0.0.0.0").err
    said = aflow("serve", finished, "--api-key-variable", "CLIENTS_KEY")
    assert (said.status, "CLIENTS_KEY" in said.err) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = aflow("serve", finished, "--port", taken.getsockname()[1])
    assert (said.status, "name another --port" in said.err) == (2, True)


def test_a_ceiling_in_usd_needs_a_price(aflow: Command, tmp_path: Path) -> None:
    """A ceiling that cannot be kept is refused before the first request."""
    overrides = ("executor=openai", "executor.base_url=http://127.0.0.1:9/v1", "executor.model=unheard-of")
    said = aflow("serve", two_calls(tmp_path / "w"), *overrides, "--port", 0, "--request-usd", 0.1)
    assert (said.status, "no price" in said.err) == (2, True)
