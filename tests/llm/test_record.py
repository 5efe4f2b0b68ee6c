# SPDX-License-Identifier: Apache-2.0
"""What was paid for is kept before it is used, asked for once, and replayed without anybody being asked."""

import asyncio

import pytest

from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.llm import build_client
from aflow_env.llm.client import Completion, LLMClient, LLMError, Request
from aflow_env.llm.record import CompletionLog, KeepingClient, RecordingClient, key_of
from tests.llm.helpers import KINDS, MemoryLog, ask, budget, config
from tests.llm.server import answer, serve, thirty_percent


def quick_faults(prompt: str, attempt: int) -> str:
    """A plan: 30 % of attempts fail, none by making the client wait for its time-out."""
    fault = thirty_percent(prompt, attempt)
    return "reset" if fault == "drip" else fault


class Slow:
    """Answers with the number of its call, after some turns of the loop."""

    def __init__(self, seconds: float = 0.01, error: LLMError | None = None, hang_up_seconds: float = 0.0) -> None:
        self.calls = self.cancelled = 0
        self.seconds, self.error, self.hang_up_seconds = seconds, error, hang_up_seconds

    async def complete(self, request: Request) -> Completion:
        self.calls += 1
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            await asyncio.sleep(self.hang_up_seconds)
            raise
        if self.error:
            raise self.error
        return Completion(text=f"call {self.calls}", model="m", input_tokens=1, output_tokens=1, cost_usd=0.25)

    async def aclose(self) -> None: ...


def recording(inner: LLMClient, log: CompletionLog) -> RecordingClient:
    """Asks once, keeps what it was answered."""
    return RecordingClient(KeepingClient(inner, log), log, "record")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_empty_reply_that_was_taken_is_none_where_it_would_be_a_fault(kind):
    kept = MemoryLog()
    async with serve(lambda prompt, attempt: "empty") as (address, _):
        for keys in ({"accept_empty": True}, {}):
            client = build_client(config(kind, address, max_attempts=1, **keys), budget=budget(), log=kept, seed=5)
            if keys:
                assert (await client.complete(ask("hello"))).text == ""
            else:
                with pytest.raises(LLMError, match="accept_empty"):
                    await client.complete(ask("hello"))
            await client.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_executor_that_said_nothing_says_nothing_again_in_a_replay(kind):
    """The workflow's score depends on it. Another role, such as the implementer, asks again."""
    kept = MemoryLog()
    async with serve(lambda prompt, attempt: "empty") as (address, _):
        settings = config(kind, address, max_attempts=2)
        for role, saved in (("implementer.llm", 0), ("executor", 1)):
            client = build_client(settings, budget=budget(), log=kept, seed=5, role=role)
            with pytest.raises(LLMError) as first:
                await client.complete(ask("hello"))
            await client.aclose()
            assert len(kept.kept) == saved
    replay = build_client(settings.model_copy(update={"mode": "replay"}), budget=budget(), log=kept, seed=5)
    with pytest.raises(LLMError) as again:
        await replay.complete(ask("hello"))
    assert (again.value.kind, again.value.billed) == (first.value.kind, first.value.billed)
    assert again.value.unanswered


@pytest.mark.parametrize("kind", KINDS)
async def test_a_recorded_run_replays_byte_for_byte_with_no_server_no_key_and_no_cost(kind, monkeypatch):
    kept = MemoryLog()
    requests = [ask(f"question {k}", sample=k % 2) for k in range(30)]
    async with serve(quick_faults) as (address, _):
        settings = config(kind, address)
        client = build_client(settings, budget=budget(), log=kept, seed=5)
        first = await asyncio.gather(*map(client.complete, requests))
        await client.aclose()
    account = budget(calls=0)
    settings = settings.model_copy(update={"mode": "replay", "api_key_variable": "UNSET", "prices": None})
    client = build_client(settings, budget=account, log=kept, seed=5)
    second = [await client.complete(request) for request in requests]
    assert [c.model_dump_json() for c in second] == [c.model_dump_json() for c in first]
    assert [c.text for c in first] == [answer(r.messages[0].content) for r in requests]
    assert account.totals.spent.calls == 0


async def test_what_was_not_recorded_is_an_infrastructure_error_that_names_the_key():
    client = RecordingClient(None, MemoryLog(), "replay")
    request = ask("new")
    with pytest.raises(InfrastructureError, match=key_of(request, client.scope)):
        await client.complete(request)


async def test_record_asks_once_and_keeps_before_it_answers():
    inner, kept = Slow(), MemoryLog()
    client = recording(inner, kept)
    first = await client.complete(ask("x"))
    assert list(kept.kept.values()) == [first]
    assert await client.complete(ask("x")) == first
    assert (await client.complete(ask("x", sample=1))).text == "call 2"
    assert inner.calls == 2


async def test_live_keeps_nothing_and_looks_nowhere():
    inner, kept = Slow(), MemoryLog()
    client = RecordingClient(inner, kept, "live")
    assert [(await client.complete(ask("x"))).text for _ in range(2)] == ["call 1", "call 2"]
    assert not kept.kept


async def test_a_log_that_cannot_keep_stops_the_call():
    class Full(MemoryLog):
        def put(self, key: str, request: Request, completion: Completion) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await recording(Slow(), Full()).complete(ask("x"))


async def test_identical_requests_in_flight_are_one_call():
    inner = Slow()
    client = recording(inner, MemoryLog())
    answers = await asyncio.gather(*(client.complete(ask("x")) for _ in range(10)))
    assert {completion.text for completion in answers} == {"call 1"}
    failing = recording(Slow(error=LLMError("refused", "no")), MemoryLog())
    results = await asyncio.gather(*(failing.complete(ask("x")) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [LLMError] * 3


async def test_one_who_gives_up_does_not_take_the_call_from_the_others_and_the_last_one_ends_it():
    inner = Slow(seconds=0.2)
    client = recording(inner, MemoryLog())
    one, two = (asyncio.create_task(client.complete(ask("x"))) for _ in range(2))
    await asyncio.sleep(0.02)
    one.cancel()
    await asyncio.sleep(0.02)
    assert inner.cancelled == 0
    assert (await two).text == "call 1"

    three = asyncio.create_task(client.complete(ask("y")))
    await asyncio.sleep(0.02)
    three.cancel()
    with pytest.raises(asyncio.CancelledError):
        await three
    assert inner.cancelled == 1
    assert (await client.complete(ask("y"))).text == "call 3", "whoever asks next gets a call of its own"


async def test_who_asks_while_a_cancelled_call_still_hangs_up_gets_a_call_of_its_own():
    inner = Slow(seconds=0.05, hang_up_seconds=0.1)
    client = recording(inner, MemoryLog())
    one = asyncio.create_task(client.complete(ask("x")))
    await asyncio.sleep(0.01)
    one.cancel()
    await asyncio.sleep(0.01)
    assert (await client.complete(ask("x"))).text == "call 2"
    with pytest.raises(asyncio.CancelledError):
        await one


async def test_other_models_and_seeds_have_other_keys():
    kept = MemoryLog()

    def key(seed: int = 0, **keys: object) -> str:
        client = build_client(config("openai", **keys), budget=budget(), log=kept, seed=seed)
        assert isinstance(client, RecordingClient)
        return key_of(ask("x"), client.scope)

    keys = [key(), key(seed=1), key(model="other"), key(effort="low")]
    assert len(set(keys)) == len(keys)
    assert key(concurrency=3, timeout_seconds=9.0) == keys[0], "what does not decide a completion is not in its key"


async def test_what_runs_share_is_kept_in_each_of_them():
    """Asked once for all of them; a run stays whole when the shared log is gone; replay and live look nowhere else."""
    shared, logs, inner = MemoryLog(), [MemoryLog(), MemoryLog()], Slow()
    for log in logs:
        client = RecordingClient(KeepingClient(inner, log, shared=shared), log, "record", shared=shared)
        assert (await client.complete(ask("x"))).text == "call 1"
    assert logs[0].kept == logs[1].kept == shared.kept != {}
    assert inner.calls == 1
    with pytest.raises(InfrastructureError):
        await RecordingClient(None, MemoryLog(), "replay", shared=shared).complete(ask("x"))
    assert (await RecordingClient(inner, None, "live", shared=shared).complete(ask("x"))).text == "call 2"


def test_a_seed_that_no_provider_hears_of_is_in_no_key():
    def keys(kind: str, **more: object) -> set[str]:
        clients = [build_client(config(kind, **more), budget=budget(), log=MemoryLog(), seed=seed) for seed in (0, 1)]
        return {key_of(ask("x"), client.scope) for client in clients if isinstance(client, RecordingClient)}

    assert len(keys("anthropic")) == len(keys("openai", send_seed=False)) == 1
    assert len(keys("openai")) == len(keys("simulated")) == 2


def test_replay_without_a_log_is_a_config_error():
    with pytest.raises(ConfigError, match=r"executor\.mode=replay needs a run"):
        build_client(config("openai", mode="replay"), budget=budget(), log=None, seed=0)


async def test_a_completion_is_kept_before_its_cost_is_settled():
    """So a process killed in between has it, and counts it at its worst case."""
    account, seen = budget(), []

    class Watching(MemoryLog):
        def put(self, key: str, request: Request, completion: Completion) -> None:
            seen.append(account.totals)
            super().put(key, request, completion)

    client = build_client(config("simulated"), budget=account, log=Watching(), seed=0)
    await client.complete(ask("Tom has 3 apples and buys 4. How many apples has Tom?"))
    assert [(totals.certain.calls, totals.reserved.calls) for totals in seen] == [(0, 1)]
    assert (account.totals.certain.calls, account.totals.reserved.calls) == (1, 0)
