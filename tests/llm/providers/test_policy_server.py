# SPDX-License-Identifier: Apache-2.0
"""The policy as executor: every draw has its seed, time-outs are errors, and no completion outlives its weights."""

import asyncio

import pytest

from aflow_env.config import LLMConfig
from aflow_env.errors import ConfigError
from aflow_env.llm import build_client
from aflow_env.llm.client import LLMError
from aflow_env.llm.providers.policy_server import PolicyClient
from tests.llm.helpers import MemoryLog, ask, budget

POLICY = LLMConfig(kind="policy", timeout_seconds=5, max_attempts=1)


class Server:
    """Stands for verl's rollout server: echoes what it was asked, tagged with its weights."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[dict[str, str]], float, int, int]] = []
        self.weights, self.seconds = 0, 0.0

    async def __call__(
        self, messages: list[dict[str, str]], temperature: float, max_tokens: int, seed: int
    ) -> tuple[str, int, int]:
        self.asked.append((messages, temperature, max_tokens, seed))
        await asyncio.sleep(self.seconds)
        return f"weights {self.weights} STOP tail", 7, 4


async def test_the_policy_is_asked_with_chat_messages_and_a_seed_per_draw():
    server = Server()
    client = build_client(POLICY, budget=budget(usd=0), log=None, seed=1, generate=server)
    first = await client.complete(ask("x", temperature=0.7, max_tokens=4, stop=("STOP",)))
    await client.complete(ask("x", temperature=0.7, max_tokens=4, sample=1, stop=("STOP",)))
    assert (first.text, first.input_tokens, first.output_tokens, first.cost_usd) == ("weights 0 ", 7, 4, 0.0)
    assert first.stop_reason == "stop"
    (messages, temperature, max_tokens, seed), (*_, other) = server.asked
    assert (messages, temperature, max_tokens) == ([{"role": "user", "content": "x"}], 0.7, 4)
    assert seed != other
    cut = await PolicyClient(server).complete(ask("x", max_tokens=4))
    assert cut.stop_reason == "length"


async def test_no_completion_outlives_the_weights_that_made_it():
    server, kept = Server(), MemoryLog()
    client = build_client(POLICY, budget=budget(), log=kept, seed=1, generate=server)
    for step in (0, 0, 1, 0):
        server.weights = step
        assert (await client.complete(ask("x"))).text.startswith(f"weights {step}")
    assert len(server.asked) == 4
    assert kept.kept == {}


async def test_a_silent_policy_is_a_timeout_and_a_dead_one_is_not_hidden():
    server = Server()
    server.seconds = 30
    with pytest.raises(LLMError, match="timeout"):
        await PolicyClient(server, seconds=0.05).complete(ask("x"))

    async def dead(
        messages: list[dict[str, str]], temperature: float, max_tokens: int, seed: int
    ) -> tuple[str, int, int]:
        raise RuntimeError("the server died")

    client = build_client(POLICY, budget=budget(), log=None, seed=0, generate=dead)
    with pytest.raises(RuntimeError, match="the server died"):
        await client.complete(ask("x"))


def test_without_a_trainer_the_fix_is_told():
    with pytest.raises(ConfigError, match=r"executor\.kind=policy.*main_ppo.*executor\.kind=openai"):
        build_client(POLICY, budget=budget(), log=None, seed=0)
