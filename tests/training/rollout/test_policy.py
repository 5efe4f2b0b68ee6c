# SPDX-License-Identifier: Apache-2.0
"""What the trained policy is asked, beside edits: Q of edits from digits.

A local HTTP server stands for the rollout server: it is as honest as a table of log-probabilities can be.
"""

import asyncio
import json
import math
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from aflow_env.cli.compose import load
from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.search.prediction.predict import Candidate
from aflow_env.search.proposals.proposal import State
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_steps
from aflow_env.training.rollout.policy import RolloutPolicy
from aflow_env.workflow.edits import apply_edit, every_edit, format_edit
from aflow_env.workflow.steps import to_workflow


class Letters:
    """A tokenizer with one token a character."""

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [ord(letter) for letter in text]

    def apply_chat_template(self, chat: list[dict[str, str]], **_: Any) -> dict[str, list[int]]:
        return {"input_ids": self.encode("\n".join(message["content"] for message in chat))}


class Servers:
    """verl's client, as far as predictions use it."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def _acquire_server(self, request_id: str) -> tuple[str, None]:
        return self.address, None

    def _release_server(self, address: str, request_id: str) -> None:
        return


@pytest.fixture
def asked() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers 3 or 6, the likelier 6 the more letters the prompt has, in the order of its own."""
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        choices = []
        for index, prompt in enumerate(body["prompt"]):
            top = {"token_id:51": math.log(1 - share(prompt)), "token_id:54": math.log(share(prompt))}
            choices.append({"index": index, "logprobs": {"top_logprobs": [top]}})
        return {"choices": choices[::-1]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"data": [{"id": "policy"}]})

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self._send(answer(bodies[-1]))

        def _send(self, reply: dict[str, Any]) -> None:
            content = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}", bodies
    server.shutdown()
    server.server_close()
    thread.join()


def policy(address: str, folder: Path, http: httpx.AsyncClient) -> RolloutPolicy:
    config = load(["rl_weight=0.5", "policy.base_url=http://localhost:1/v1", f"run_dir={folder}"])
    server, tokenizer = Servers(address), Letters()
    return RolloutPolicy(server, tokenizer, config, {}, "r", 100_000, 1.0, http)  # type: ignore[arg-type]


def share(prompt: list[int]) -> float:
    """What the server gives to the answer 6."""
    return len(prompt) / 10_000


def some(config: Any, count: int) -> tuple[State, list[Candidate]]:
    """The start workflow's state, and edits of it."""
    spec = load_task(config.task).spec
    steps = start_steps(spec)
    every = list(every_edit(steps, spec, config.task.instructions))
    edits = every[:: len(every) // count][:count]
    made = [Candidate(format_edit(edit), to_workflow(apply_edit(steps, edit, spec), spec)) for edit in edits]
    return State(to_workflow(steps, spec), spec, 0.25, 4), made


async def test_q_is_the_expectation_over_the_digits(tmp_path: Path, asked: Any) -> None:
    """One request for all edits of all states; equal questions are one prompt, and none is asked twice."""
    async with httpx.AsyncClient() as http:
        mine = policy(asked[0], tmp_path, http)
        state, edits = some(mine.config, 3)
        values = await mine.values([(state, edit) for edit in [*edits, edits[0]]])
        (body,) = asked[1]
        assert [value.q for value in values[:3]] == pytest.approx([(3 + 3 * share(p)) / 9 for p in body["prompt"]])
        assert values[0] == values[3]
        assert values[0].mass == pytest.approx(1.0)
        await mine.predict(state, edits)
        assert len(asked[1]) == 1


async def test_sessions_of_the_same_weights_ask_each_question_once(tmp_path: Path, asked: Any) -> None:
    """Also while the first session's request is on its way, and when that session is cancelled."""
    async with httpx.AsyncClient() as http:
        first, second = (policy(asked[0], tmp_path, http) for _ in range(2))
        second.asked = first.asked
        state, edits = some(first.config, 6)
        gone = asyncio.create_task(first.predict(state, edits[:4]))
        await asyncio.sleep(0)
        gone.cancel()
        values = await second.predict(state, edits)
        prompts = [len(body["prompt"]) for body in asked[1]]
        assert sorted(prompts) == [2, 4]
        assert values == await policy(asked[0], tmp_path, http).predict(state, edits)


async def test_a_question_that_the_server_did_not_answer_is_asked_again(tmp_path: Path, asked: Any) -> None:
    """A failed request fails its session, not those that come after it."""
    async with httpx.AsyncClient() as http:
        first, second = policy("127.0.0.1:9", tmp_path, http), policy(asked[0], tmp_path, http)
        second.asked = first.asked
        with pytest.raises(InfrastructureError, match="did not answer"):
            await first.predict(*some(first.config, 2))
        assert len(await second.predict(*some(second.config, 2))) == 2


async def test_the_order_of_edits_changes_no_value(tmp_path: Path, asked: Any) -> None:
    """Permuting the edits permutes the values, whoever is asked first."""
    async with httpx.AsyncClient() as http:
        first, second = policy(asked[0], tmp_path, http), policy(asked[0], tmp_path, http)
        state, edits = some(first.config, 8)
        there, back = await first.predict(state, edits), await second.predict(state, edits[::-1])
        assert [value.q for value in there] == [value.q for value in back[::-1]]
        assert len({value.q for value in there}) > 1


async def test_a_server_that_is_gone_is_an_error_and_no_value(tmp_path: Path) -> None:
    """Nothing is made up where the policy cannot be asked."""
    async with httpx.AsyncClient() as http:
        mine = policy("127.0.0.1:9", tmp_path, http)
        with pytest.raises(InfrastructureError, match="did not answer"):
            await mine.predict(*some(mine.config, 2))


async def test_an_answer_without_digits_is_an_error(
    tmp_path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy that puts nothing on digits predicts nothing."""
    async with httpx.AsyncClient() as http:
        mine = policy(asked[0], tmp_path, http)
        monkeypatch.setattr("aflow_env.training.rollout.policy.DIGITS", "abcdefghij")
        with pytest.raises(ConfigError, match="none among its 20 likeliest"):
            await mine.predict(*some(mine.config, 2))
