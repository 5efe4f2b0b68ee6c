# SPDX-License-Identifier: Apache-2.0
"""A recorded search, played again with no server, no key and no cost, leaves the identical store digest."""

import json
from itertools import cycle
from pathlib import Path

import pytest

from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import load
from aflow_env.llm.client import Message, Request
from aflow_env.llm.simulated.executor import SimulatedClient
from aflow_env.llm.simulated.landscape import load_landscape
from aflow_env.search.assemble import Assembly
from tests.cli.conftest import SMALL, Command
from tests.llm.helpers import KINDS
from tests.llm.server import serve_beside
from tests.search.policy_server import PolicyServer, serve_policy

SIMULATED = SimulatedClient(load_landscape(None))
EDITS = [
    json.dumps({"operation": "add", "operator": name, "position": 2, "parameters": {}, "reason": "why not"})
    for name in ("Review", "Programmer", "Format", "AnswerGenerate")
]


def model(prompt: str) -> str:
    """What the server's model says."""
    return SIMULATED.reply(prompt, Request(messages=(Message(role="user", content=prompt),)))


def command(kind: str, address: str, folder: Path, *more: str) -> tuple[str, ...]:
    base = f"{address}/v1" if kind == "openai" else address
    executor = (f"executor={kind}", f"executor.base_url={base}", "executor.model=test-model")
    return ("search", f"run_dir={folder}", *executor, "rounds=7", *SMALL, *more, "--json")


@pytest.mark.parametrize("kind", KINDS)
def test_a_replay_without_a_network_leaves_the_identical_store(
    aflow: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    edits = cycle(EDITS)
    policy = PolicyServer(edits=lambda prompt: next(edits))
    guided = ["rl_weight=0.5", "policy.model=checkpoint", "policy.base_url=https://policy.invalid/v1"]
    monkeypatch.setenv("SOME_KEY", "sk-of-the-recording")
    with serve_beside(model=model) as (address, books), serve_policy(policy):
        live = [*guided[:-1], f"policy.base_url={policy.address}"]
        first = aflow(*command(kind, address, tmp_path / "a", *live))
        assert first.status == 0, first.err
        assert books.attempts.total() > 10
        assert policy.questions

    monkeypatch.delenv("SOME_KEY")
    secret = ("executor.api_key_variable=SOME_KEY", "policy.api_key_variable=SOME_KEY")
    replay = (*guided, *secret, "executor.mode=replay", f"recording={tmp_path / 'a'}")
    second = aflow(*command(kind, address, tmp_path / "b", *replay))  # both servers are gone
    assert second.status == 0, second.err
    shown = [aflow("show", tmp_path / name, "--json").json for name in "ab"]
    assert shown[0]["store"] == shown[1]["store"]
    assert shown[0]["nodes"] == shown[1]["nodes"]
    assert len({node["score"] for node in shown[0]["nodes"]}) > 1
    assert second.json["test"] == first.json["test"]

    other = aflow(*command(kind, address, tmp_path / "c", *replay, "seed=1"))
    assert other.status == 3
    assert "no completion is recorded" in other.err


def test_a_recording_that_is_not_there_or_not_read_is_an_error_at_once(aflow: Command, tmp_path: Path) -> None:
    missing = f"recording={tmp_path / 'nowhere'}"
    there = command("openai", "http://127.0.0.1:9", tmp_path / "run", missing)
    for more, said in ((("executor.mode=replay",), "no run.sqlite"), ((), "executor.mode=replay")):
        ended = aflow(*there, *more)
        assert ended.status == 2
        assert missing in ended.err
        assert said in ended.err
    assert not (tmp_path / "run").exists()


def test_what_one_run_was_answered_no_other_asks_again(aflow: Command, tmp_path: Path) -> None:
    """Two runs of the same search: the second asks nobody, has the same store, and replays without the cache."""
    cache = f"cache={tmp_path / 'cache'}"
    with serve_beside(model=model) as (address, books):
        asked = []
        for name in "ab":
            ended = aflow(*command("anthropic", address, tmp_path / name, cache))
            assert ended.status == 0, ended.err
            asked.append(books.attempts.total())
    assert asked[0] == asked[1] > 0
    replay = ("executor.mode=replay", f"recording={tmp_path / 'b'}")
    assert aflow(*command("anthropic", address, tmp_path / "again", *replay)).status == 0
    stores = [aflow("show", tmp_path / name, "--json").json["store"] for name in ("a", "b", "again")]
    assert stores[0] == stores[1] == stores[2]


def test_a_cache_that_would_not_be_used_or_cannot_be_made_is_an_error_at_once(aflow: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for more, said in (
        ((f"cache={tmp_path}", "executor.mode=live"), "executor.mode=live"),
        ((f"cache={tmp_path / 'file'}",), "cannot be written: File exists"),
    ):
        ended = aflow(*command("openai", "http://127.0.0.1:9", tmp_path / "run", *more))
        assert ended.status == 2
        assert more[0] in ended.err
        assert said in ended.err


async def test_clients_of_one_provider_share_their_limits(tmp_path: Path) -> None:
    for port, shared in ((1, True), (2, False)):
        given = ["executor.base_url=http://localhost:1/v1", f"implementer.llm.base_url=http://localhost:{port}/v1"]
        models = ["executor.model=m", "implementer.llm.kind=openai", "implementer.llm.model=n"]
        groups = ["executor=openai", "implementer=llm", f"run_dir={tmp_path / str(port)}"]
        assembly = await Assembly.open(load([*groups, *given, *models], UNGUIDED))
        await assembly.aclose()
        limits = [client.inner.inner.limits for client in (assembly.executor, assembly.implementer)]
        assert (limits[0] is limits[1]) == shared
