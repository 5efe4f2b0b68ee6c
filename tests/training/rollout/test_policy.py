# SPDX-License-Identifier: Apache-2.0
"""What the trained policy is asked, beside edits: Q from digits.

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
from aflow_env.search.proposal import State
from aflow_env.tasks import load_task
from aflow_env.tasks.start import start_steps
from aflow_env.training.rollout.policy import RolloutPolicy
from aflow_env.workflow.steps import to_workflow


class Letters:
    """A tokenizer with one token a character."""

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [ord(letter) for letter in text]

    def apply_chat_template(self, chat: list[dict[str, str]], **_: Any) -> dict[str, list[int]]:
        return {"input_ids": self.encode("\n".join(message["content"] for message in chat))}


class Servers:
    """verl's client, as far as beliefs use it."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def _acquire_server(self, request_id: str) -> tuple[str, None]:
        return self.address, None

    def _release_server(self, address: str, request_id: str) -> None:
        return


@pytest.fixture
def asked() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers 3 with probability 0.8 and 6 with 0.2."""
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        choices = []
        for index in range(len(body["prompt"])):
            top = {"token_id:51": math.log(0.8), "token_id:54": math.log(0.2)}
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


def state(config: Any) -> State:
    spec = load_task(config.task).spec
    return State(to_workflow(start_steps(spec), spec), spec, 0.25, 4)


def test_q_is_the_expectation_over_the_digits_and_equal_states_are_asked_about_once(tmp_path: Path, asked: Any) -> None:
    async def run() -> None:
        async with httpx.AsyncClient() as http:
            mine = policy(asked[0], tmp_path, http)
            first, second = await mine.predict([state(mine.config), state(mine.config)])
            assert first == second
            assert first.q == pytest.approx((0.8 * 3 + 0.2 * 6) / 9)
            await mine.predict([state(mine.config)])
            assert [len(body["prompt"]) for body in asked[1]] == [1]

    asyncio.run(run())
