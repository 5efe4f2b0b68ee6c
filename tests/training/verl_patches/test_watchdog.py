# SPDX-License-Identifier: Apache-2.0
"""The watchdog tells an actor that died from one that ended, and says who it was."""

from typing import Any

import pytest
from ray.core.generated.common_pb2 import ActorDeathCause, ActorDiedErrorContext

from aflow_env.training.verl_patches import watchdog
from aflow_env.training.verl_patches.watchdog import Watchdog, deaths, paragraph


def actor(state: str, reason: str | None, text: str = "it was killed") -> dict[str, Any]:
    """A row of Ray's actor table, with Ray's own message for the cause."""
    cause = ActorDeathCause()
    if reason is not None:
        cause.actor_died_error_context.reason = ActorDiedErrorContext.Reason.Value(reason)
        cause.actor_died_error_context.error_message = text
    return {
        "State": state,
        "DeathCause": cause,
        "ActorClassName": "WorkerDict",
        "Name": "abcWorkerDict_0:0",
        "Pid": 4711,
        "Address": {"IPAddress": "10.0.0.1"},
    }


@pytest.mark.parametrize("reason", ["WORKER_DIED", "NODE_DIED", "OWNER_DIED", "UNSPECIFIED"])
def test_a_death_is_told_with_who_where_and_why(reason: str) -> None:
    found = deaths({"a1": actor("DEAD", reason), "a2": actor("ALIVE", None)})
    assert list(found) == ["a1"]
    text = paragraph(found.values())
    for part in ("WorkerDict", "abcWorkerDict_0:0", "4711", "10.0.0.1", "it was killed"):
        assert part in text


def test_an_actor_killed_for_memory_is_a_death() -> None:
    row = actor("DEAD", None)
    row["DeathCause"].oom_context.error_message = "Task was killed due to the node running low on memory."
    assert "low on memory" in paragraph(deaths({"a1": row}).values())


@pytest.mark.parametrize("reason", ["OUT_OF_SCOPE", "REF_DELETED", "RAY_KILL"])
def test_a_normal_end_is_no_death(reason: str) -> None:
    assert deaths({"a1": actor("DEAD", reason)}) == {}


def test_the_last_words_of_the_dead_take_the_place_of_rays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {f"{watchdog.WORDS}a1": "vLLM's EngineCore (pid 12) died."}
    monkeypatch.setattr(watchdog, "_job", lambda: "01")
    monkeypatch.setattr(watchdog, "_read", lambda key: words.get(key, ""))
    monkeypatch.setattr(watchdog, "_write", words.__setitem__)
    Watchdog()._report(deaths({"a1": actor("DEAD", "WORKER_DIED")}))
    text = capsys.readouterr().err
    assert text.strip() == words[f"{watchdog.VERDICT}01"]
    assert "EngineCore (pid 12)" in text
    assert "it was killed" not in text


@pytest.mark.parametrize(("looks", "told"), [(3, True), (10**9, False)])
def test_an_error_waits_for_the_death_behind_it(
    looks: int, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """verl fails because every session failed, seconds before Ray knows that the rollout server is gone."""
    empty: list[dict[str, str]] = [{}] * min(looks, 10**4)
    monkeypatch.setattr(watchdog, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(watchdog, "PATIENCE", 0.2)
    monkeypatch.setattr(watchdog, "_look", lambda: empty.pop() if empty else {"a1": "It was killed."})
    for name, answer in (("_read", ""), ("_write", None), ("_job", "01")):
        monkeypatch.setattr(watchdog, name, lambda *_, answer=answer: answer)
    with pytest.raises(RuntimeError, match="no trajectories"), Watchdog():
        raise RuntimeError("no trajectories")
    assert ("a part of it died" in capsys.readouterr().err) == told
