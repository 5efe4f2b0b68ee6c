# SPDX-License-Identifier: Apache-2.0
"""proposer=guided: the policy suggests, an LLM writes the program, the gate judges; the suggestion is the proposal."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.llm.client import Completion, Request
from aflow_env.search.assemble import Assembly
from aflow_env.search.proposals.proposal import Proposal, State, action_messages
from aflow_env.search.session import SearchProblem, SearchSession, session_seed
from aflow_env.store.node_rows import Rejection
from aflow_env.store.store import SessionKey
from aflow_env.workflow.edits import parse_edit
from aflow_env.workflow.implement import implement_rule

GUIDED = ("proposer=guided", "lookahead.nodes=1", "lookahead.edits=1", "redraws=0")
LLM = ("implementer=llm", "implementer.llm.kind=openai", "implementer.llm.model=writer", "implementer.llm.prices=free")
SUGGESTION = '{"operation": "add", "operator": "Format", "reason": "The number hides in a sentence."}'
ADD_FORMAT = parse_edit('{"operation": "add", "operator": "Format", "position": 2}')


class Suggests:
    """A policy with a payload, as the trained one has tokens."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    async def propose(self, state: State, seed: int) -> Proposal:
        return Proposal(self.texts.pop(0), "tokens")


class Writer:
    """An implementer that can add a Format step, and writes nonsense when it is told to remove one."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly, self.asked, self.fields = assembly, list[str](), list[tuple[str, ...]]()

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.messages[-1].content)
        changed = implement_rule(self.assembly.start(), ADD_FORMAT, self.assembly.task.spec).workflow
        self.fields.append(request.fields)
        if request.fields:
            values = ("done", changed.graph, changed.prompts)
            return self._said(json.dumps(dict(zip(request.fields, values, strict=True))))
        text = f"<modification>done</modification><graph>{changed.graph}</graph><prompt>{changed.prompts}</prompt>"
        text = "Sorry." if "Remove" in self.asked[-1] else text
        return self._said(text)

    def _said(self, text: str) -> Completion:
        return Completion(text=text, model="writer", input_tokens=1, output_tokens=1, cost_usd=0.0, stop_reason="stop")

    async def aclose(self) -> None:
        """Nothing to release."""


def config(folder: Path, *overrides: str) -> AflowConfig:
    fixed = ("rl_weight=0", "q.kind=none", "task.validate_size=4", "rounds=3", f"run_dir={folder}", *GUIDED)
    return load([*fixed, *overrides])


def play(config: AflowConfig, texts: Sequence[str]) -> tuple[SearchSession, Writer]:
    async def run() -> tuple[SearchSession, Writer]:
        assembly = await Assembly.open(config)
        writer = Writer(assembly)
        await assembly.implementer.aclose()  # type: ignore[union-attr]
        assembly.implementer = writer
        try:
            search = assembly.search(Suggests(texts), None, "validate")
            problem = SearchProblem(SessionKey("test", config.seed), session_seed(config.seed), assembly.start())
            return await search.play(problem), writer
        finally:
            await assembly.aclose()

    return asyncio.run(run())


def test_the_llm_writes_what_the_policy_suggests(tmp_path: Path) -> None:
    remove = '{"operation": "remove", "reason": "Shorter."}'
    session, writer = play(config(tmp_path, *LLM, "implementer.llm.base_url=http://x"), [SUGGESTION, remove, "hm"])
    made, unwritten, unread = session.turns
    assert made.node is not None
    assert made.node.edit == SUGGESTION, "the suggestion is the proposal, whoever wrote the code"
    assert made.reply.payload == "tokens", "and its tokens are what a trainer gets"
    assert "Format" in made.node.workflow.graph
    assert "Make exactly this change: Add a step (Format). The number hides in a sentence." in writer.asked[0]
    assert isinstance(unwritten.ended, Rejection)
    assert "class Workflow" in unwritten.ended.reason
    assert isinstance(unread.ended, Rejection)
    assert "no JSON object" in unread.ended.reason
    assert len(writer.asked) == 2, "what cannot be read is not sent to the implementer"


def test_the_policy_is_asked_for_a_suggestion_and_not_for_code(tmp_path: Path) -> None:
    guided = config(tmp_path, *LLM, "implementer.llm.base_url=http://x")
    session, _ = play(guided, [SUGGESTION] * 3)
    system, user = (message.content for message in action_messages(session.turns[0].state, guided))
    assert "A suggestion is one JSON object" in system
    assert user.endswith("Proposal with one suggestion.")
    plain = action_messages(replace(session.turns[0].state), load(["proposer=random", "rl_weight=0", "q.kind=none"]))
    assert "suggestion" not in plain[0].content


@pytest.mark.parametrize(
    ("overrides", "said"),
    [((), "implementer.kind=rule"), ((*LLM, "implementer.llm.base_url=http://x", "action=code"), "action=code")],
)
def test_what_cannot_work_is_said_before_anything_starts(tmp_path: Path, overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(tmp_path, *overrides)


@pytest.mark.parametrize(("structured", "wanted"), [("off", ()), ("auto", ("modification", "graph", "prompt"))])
def test_a_writers_reply_is_held_to_its_fields(tmp_path: Path, structured: str, wanted: tuple[str, ...]) -> None:
    """With structured=auto the server is asked for the parts of the program, as JSON or else as tags."""
    held = (*LLM, "implementer.llm.base_url=http://x", f"implementer.llm.structured={structured}")
    session, writer = play(config(tmp_path, *held, "rounds=1"), [SUGGESTION])
    assert writer.fields == [wanted]
    assert session.turns[0].node is not None, "a reply in JSON is read as one in tags is"
