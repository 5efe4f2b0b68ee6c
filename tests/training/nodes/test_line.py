# SPDX-License-Identifier: Apache-2.0
"""A store that is asked over a line answers as the store itself, and the line sends batches in order."""

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs Ray: make setup")

from aflow_env.llm.client import Completion, Message, Request
from aflow_env.store.store import SessionKey, Store
from aflow_env.training.nodes.line import Failure, Line, RemotePart
from tests.search.support import EXECUTOR, node

KEY = SessionKey("problem/1")


class Owner:
    """Stands for the actor's handle: `answer.remote(calls)` is awaited, and all that crosses is pickled."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.batches: list[list[str]] = []
        self.answer = self

    async def remote(self, calls: Any) -> list[Any]:
        self.batches.append([call.method for call in calls])
        await asyncio.sleep(0)
        replies = []
        for call in pickle.loads(pickle.dumps(calls)):
            try:
                replies.append(getattr(self.store, call.method)(*call.arguments))
            except ValueError as error:
                replies.append(Failure(error))
        return pickle.loads(pickle.dumps(replies))  # type: ignore[no-any-return]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "run.sqlite")
    yield opened
    opened.close()


async def test_a_remote_store_answers_as_the_store(store: Store) -> None:
    """Results, rounds, completions and errors are the store's own; keys may come from a generator."""
    remote: Any = RemotePart(Line(Owner(store)), "store")
    told = node(1, None)
    await remote.open_session(KEY, "arithmetic")
    await remote.put_many(told.digest, EXECUTOR, told.evaluation.results)
    await remote.record(KEY, told, None)
    keys = [(each.problem_digest, each.repeat) for each in told.evaluation.results]
    assert await remote.get_many(told.digest, EXECUTOR, iter(keys)) == store.get_many(told.digest, EXECUTOR, keys)
    assert await remote.open_session(KEY, "arithmetic") == store.session(KEY)
    request = Request(messages=(Message(role="user", content="2 + 2?"),))
    completion = Completion(text="4", model="m", input_tokens=3, output_tokens=1)
    await remote.put("key", request, completion)
    assert await remote.get("key") == store.get("key") == completion
    with pytest.raises(ValueError, match="open the session first"):
        await remote.record(SessionKey("other"), told)


async def test_calls_that_wait_share_a_batch_and_stay_in_order(store: Store) -> None:
    """A process has one batch under way; a caller that gives up takes no other's answer away."""
    owner = Owner(store)
    line = Line(owner)
    first = line.ask("store", "event", "first", {})
    await asyncio.sleep(0)
    later = [line.ask("store", "event", f"{k}", {}) for k in range(3)]
    later[1].cancel()
    await asyncio.gather(first, later[0], later[2])
    assert owner.batches == [["event"], ["event"] * 3]
    assert [kind for (kind,) in store.read("SELECT kind FROM events ORDER BY id")] == ["first", "0", "1", "2"]
