# SPDX-License-Identifier: Apache-2.0
"""What the trained policy is asked, beside edits: Q from digits at a temperature, and Q from the edits' likelihood.

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
from aflow_env.search.proposal import Origin, State
from aflow_env.tasks import load_task
from aflow_env.tasks.start import start_steps
from aflow_env.training.rollout.policy import RolloutPolicy
from aflow_env.training.rollout.prior import PriorBeliever, likelihood
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
    """A server whose every letter has probability 1/2, except 'x' with 1/8, and whose first digits are 3 and 6."""
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        choices = []
        for index, prompt in enumerate(body["prompt"]):
            top = {"token_id:51": math.log(0.8), "token_id:54": math.log(0.2)}
            scored = [None] + [{str(t): {"logprob": math.log(1 / 8 if t == ord("x") else 0.5)}} for t in prompt[1:]]
            choices.append({"index": index, "logprobs": {"top_logprobs": [top]}, "prompt_logprobs": scored})
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


def policy(address: str, folder: Path, http: httpx.AsyncClient, calibration: float = 1.0) -> RolloutPolicy:
    config = load(["rl_weight=0.5", "policy.base_url=http://localhost:1/v1", f"run_dir={folder}"])
    server, tokenizer = Servers(address), Letters()
    return RolloutPolicy(server, tokenizer, config, {}, "r", 100_000, 1.0, http, calibration)  # type: ignore[arg-type]


def state(config: Any, origin: Origin | None = None) -> State:
    spec = load_task(config.task).spec
    return State(to_workflow(start_steps(spec), spec), spec, 0.25, 4, origin=origin)


def test_prior_is_the_geometric_mean_and_a_start_gets_the_mean_of_the_others(tmp_path: Path, asked: Any) -> None:
    async def run() -> None:
        async with httpx.AsyncClient() as http:
            mine = policy(asked[0], tmp_path, http)
            start = state(mine.config)
            likely, unlikely = (state(mine.config, Origin(start, edit)) for edit in ("abcd", "axxx"))
            believer = PriorBeliever(mine, longest=3)
            found = [belief.expectation for belief in await believer.believe([start, likely, unlikely])]
            axx = (0.5 / 64) ** (1 / 3)  # only the first three tokens of an edit are judged
            assert found == pytest.approx([(0.5 + axx) / 2, 0.5, axx])
            assert [belief.expectation for belief in await believer.believe([start])] == [0.5]
            assert len(asked[1]) == 1, "one request for all, and none for what is known"
            await believer.believe([likely, unlikely])
            assert len(asked[1]) == 1

    asyncio.run(run())


def test_an_empty_edit_is_not_likely() -> None:
    assert likelihood([]) == 0.0
    assert likelihood([math.log(0.25), math.log(1.0)]) == pytest.approx(0.5)


def test_digits_are_read_at_the_temperature_and_kept_as_they_were(tmp_path: Path, asked: Any) -> None:
    """Beliefs steer at the calibrated temperature; what a digit is drawn from, and trained on, is the policy's own."""

    async def run() -> None:
        async with httpx.AsyncClient() as http:
            plain = policy(asked[0], tmp_path, http)
            (raw,) = await plain.believe([state(plain.config)])
            hot = policy(asked[0], tmp_path, http, calibration=1e6)
            (calibrated,) = await hot.believe([state(hot.config)])
            assert raw.expectation == pytest.approx((0.8 * 3 + 0.2 * 6) / 9)
            assert calibrated.expectation == pytest.approx(0.5, abs=1e-4), "both digits alike"
            assert calibrated.payload == raw.payload

    asyncio.run(run())
