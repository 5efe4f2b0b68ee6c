# SPDX-License-Identifier: Apache-2.0
"""Scores that a policy in training executed are found again by the weights that made them, and by no others."""

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted
from aflow_env.llm.budget import Spend
from aflow_env.search.final_report import Report, report
from aflow_env.search.session import SearchSession
from aflow_env.store.settings import as_plain
from aflow_env.store.store import Store
from aflow_env.training.rollout import policy as weights
from aflow_env.training.trainer import server_reports as outcome
from tests.search.quick import PROBLEMS, START, Quick

POLICY = ("executor=policy", "budget.calls=5")


def config(folder: Path, *overrides: str) -> AflowConfig:
    return load((f"run_dir={folder}", *overrides))


def test_one_number_means_other_weights_in_a_steps_rollouts_and_in_its_validation(tmp_path: Path) -> None:
    """verl: validation before training is of step 0, step 1 plays with the same weights, and is validated with new."""
    played = [(0, False), (1, True), (1, False), (2, True), (2, False)]
    names = [weights.weights_version(config(tmp_path, *POLICY), weights.steps_behind(*each)) for each in played]
    assert names[0] == names[1] != names[2] == names[3] != names[4]
    assert all(weights.ATTEMPT in name for name in names), "trained again after a kill they are other weights"


def test_scores_of_another_executor_outlast_every_step(tmp_path: Path) -> None:
    assert weights.weights_version(config(tmp_path), 3) == ""


@pytest.mark.parametrize(("split", "behind"), [("train", 6), ("validate", 7)])
async def test_the_agent_loop_scores_with_the_weights_that_the_server_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: str, behind: int
) -> None:
    searched = await play_row(tmp_path, monkeypatch, split, 7)
    assert searched["version"] == f"{weights.ATTEMPT}/{behind}"


async def play_row(folder: Path, monkeypatch: pytest.MonkeyPatch, split: str, step: int) -> dict[str, Any]:
    """What the agent loop asks of a search that the budget ends before its first round, which it says."""
    pytest.importorskip("verl.experimental.agent_loop", reason="needs verl")  # verl first: its registries load ours
    from aflow_env.training.rollout.agent_loop import AflowSearchLoop, Shared

    searched: dict[str, Any] = {}

    async def play(problem: object) -> SearchSession:
        return SearchSession(stopped="budget: budget.calls is reached: 5 calls are spent.")

    def search(*_: object, **known: Any) -> SimpleNamespace:
        searched.update(known)
        return SimpleNamespace(play=play)

    loop: Any = object.__new__(AflowSearchLoop)
    with closing(Store(folder / "run.sqlite")) as store:
        parts = SimpleNamespace(store=store)
        opened = SimpleNamespace(parts=parts, search=search, start=lambda where: START)
        monkeypatch.setattr(Shared, "assembly", opened)
        monkeypatch.setattr(Shared, "http", object())
        loop.config = SimpleNamespace(aflow=as_plain(config(folder, *POLICY)))
        loop.server_manager = loop.tokenizer = None
        loop.apply_chat_template_kwargs = {}
        loop.rollout_config = SimpleNamespace(prompt_length=8, temperature=1.0, response_length=8)
        problem = {"split": split, "seed": 1, "start": "default"}
        with pytest.raises(BudgetExhausted, match=r"aflow\.budget\.calls=5: .*5 calls are spent"):
            await loop.run({}, uid="u", session_id=0, global_steps=step, extra_info=problem)
    return searched


async def test_the_run_ends_with_scores_of_its_last_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def opened(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(aclose=nothing)

    async def nothing() -> None:
        return None

    async def reported(assembly: object, version: str) -> Report:
        asked.append(version)
        return Report("", {})

    monkeypatch.setattr(outcome, "report", reported)
    monkeypatch.setattr(outcome.Assembly, "open", opened)
    rollout = {"prompt_length": 8, "temperature": 1.0}
    run = {"actor_rollout_ref": {"rollout": rollout}, "data": {"apply_chat_template_kwargs": {}}}
    for overrides in (POLICY, ()):
        await outcome.final_report(config(tmp_path, *overrides), OmegaConf.create(run), None, None, 12, {})
    assert asked == [f"{weights.ATTEMPT}/12", ""]


class Executed(Quick):
    """A policy executes: its scores are kept by the version of its weights."""

    def executor_key(self, version: str = "") -> str:
        return f"policy {version}"


async def test_the_closing_report_scores_with_the_weights_that_it_names(tmp_path: Path) -> None:
    settings = config(tmp_path, "task.test_size=0")
    with closing(Store(tmp_path / "run.sqlite")) as store:
        evaluator = Executed()
        evaluator.keep_in(store)
        assembly: Any = SimpleNamespace(
            config=settings,
            task=SimpleNamespace(spec=SimpleNamespace(name="arithmetic")),
            store=store,
            evaluator=evaluator,
            pool=lambda split: PROBLEMS,
            start=lambda: START,
            budget=SimpleNamespace(totals=SimpleNamespace(spent=Spend())),
        )
        runs = []
        for version in ("a/1", "a/1", "b/2"):
            await report(assembly, version)
            runs.append(len(evaluator.asked))
    assert runs == [1, 1, 2]
