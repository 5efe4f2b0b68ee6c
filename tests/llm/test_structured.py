# SPDX-License-Identifier: Apache-2.0
"""Structured outputs: each provider's way to ask for fields, the way back where it has none, the same search."""

import json
import logging
from pathlib import Path

import pytest

from aflow_env.config import LLMConfig
from aflow_env.llm import build_client
from aflow_env.workflow.parsing import fields
from tests.llm.helpers import KINDS, ask, budget, config
from tests.llm.server import serve
from tests.llm.test_search_through_faults import model, play, settings

SCHEMA = {
    "type": "object", "properties": {"thought": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["thought", "answer"], "additionalProperties": False,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_fields_are_asked_for_in_the_providers_own_way(kind: str) -> None:
    async with serve() as (address, books):
        client = build_client(config(kind, address, effort="low"), budget=budget(), log=None, seed=0)
        await client.complete(ask("hello", fields=("thought", "answer")))
        await client.complete(ask("hello"))
        await client.aclose()
    (_, _, held), (_, _, free) = books.requests
    if kind == "openai":
        assert held["response_format"]["json_schema"]["schema"] == SCHEMA
        assert "response_format" not in free
    else:
        assert held["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
        assert free["output_config"] == {"effort": "low"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_refuses_the_schema_is_asked_without_it_from_then_on(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    account = budget()
    async with serve(lambda prompt, attempt: "" if attempt else "status:400") as (address, books):
        client = build_client(config(kind, address), budget=account, log=None, seed=0)
        for sample in (0, 1):
            await client.complete(ask("hello", fields=("answer",), sample=sample))
        await client.aclose()
    asked = ["response_format" in body or "output_config" in body for _, _, body in books.requests]
    assert asked == [True, False, False]
    assert "refuses the JSON schema" in caplog.text
    assert account.totals.certain.calls == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"thought": "two", "answer": "4"}', {"thought": "two", "answer": "4"}),
        (' {"answer": " 4 "}\n', {"answer": "4"}),
        ('{"answer": 4}', {"answer": "4"}), ('{"answer": "4", "more": "x"}', {"answer": "4"}),
        ('{"answer": "4"', {}), ("[1]", {}), ("{}", {}),
        ("{" * 100_000 + "}", {}), ('{"answer": "<answer>5</answer>', {"answer": "5"}),
    ],
)  # fmt: skip
def test_a_reply_in_json_is_read_as_that(text: str, found: dict[str, str]) -> None:
    assert fields(text, "thought", "answer") == found


def in_json(prompt: str) -> str:
    """The provider's model, which writes its fields as JSON where that is asked for."""
    before, asked, _ = prompt.rpartition("\nWrite no tags: ")
    if not asked:
        return model(prompt)
    names = prompt.rpartition("under each of ")[2].rstrip(".").split(", ")
    said = fields(model(before), *names)
    return json.dumps({name: said.get(name, "") for name in names}) if said else model(before)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_search_finds_the_same_with_fields_and_with_tags(kind: str, tmp_path: Path) -> None:
    async with serve(model=in_json) as (address, books):
        tagged, _, _ = await play(settings(kind, address, tmp_path / "tags"))
        plain = len(books.requests)
        held, _, _ = await play(settings(kind, address, tmp_path / "fields", "executor.structured=auto"))
    bodies = [body for _, _, body in books.requests]
    assert not any("response_format" in body or "output_config" in body for body in bodies[:plain])
    assert any("response_format" in body or "output_config" in body for body in bodies[plain:])
    assert [(node.digest, node.score) for node in tagged.tree] == [(node.digest, node.score) for node in held.tree]


def test_what_has_no_structured_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="structured=off"):
        LLMConfig(kind="simulated", structured="auto")
