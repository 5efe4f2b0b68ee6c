# SPDX-License-Identifier: Apache-2.0
"""Small builders for the tests of this room."""

from pathlib import Path
from typing import Any

from aflow_env.config import BudgetConfig, LLMConfig
from aflow_env.llm import Budget
from aflow_env.llm.client import Completion, Message, Request

KINDS = ("openai", "anthropic")


def config(kind: str, address: str = "http://127.0.0.1:9", **keys: Any) -> LLMConfig:
    """A client of the local server, with waits short enough for a test."""
    base = f"{address}/v1" if kind == "openai" else address
    quick = {"model": "test-model", "prices": "free", "timeout_seconds": 20.0, "retry_seconds": 0.01}
    return LLMConfig.model_validate({"kind": kind, "base_url": base, "retry_max_seconds": 0.5, **quick, **keys})


def priced(folder: Path) -> dict[str, str]:
    """The key that gives the test's model a price."""
    prices = folder / "prices.yaml"
    prices.write_text("models: {test-model: {input: 3, output: 15}}")
    return {"prices": str(prices)}


def budget(**limits: Any) -> Budget:
    """A budget of its own."""
    return Budget(BudgetConfig(**limits))


def ask(prompt: str, **keys: Any) -> Request:
    """A request with one user message."""
    return Request(messages=(Message(role="user", content=prompt),), model="test-model", **keys)


class MemoryLog:
    """A CompletionLog in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, Completion] = {}

    def get(self, key: str) -> Completion | None:
        return self.kept.get(key)

    def put(self, key: str, request: Request, completion: Completion) -> None:
        self.kept[key] = completion
