# SPDX-License-Identifier: Apache-2.0
"""A report of runs that only wandb's offline files remember, a resumed run in two of them."""

import time
from pathlib import Path

import pytest

pytest.importorskip("wandb", reason="needs wandb: make setup")

import wandb

from aflow_env.errors import ConfigError
from aflow_env.report.numbers import best_by_step
from aflow_env.report.summary import summarise
from aflow_env.report.wandb_runs import offline_runs, online_runs, read_offline_run


def log(folder: Path, name: str, weight: float, steps: dict[int, dict[str, float]], run_dir: str = "") -> None:
    folder.mkdir(exist_ok=True)
    executor, task = {"kind": "simulated"}, {"name": "arithmetic"}
    aflow = {"rl_weight": weight, "seed": 1, "task": task, "executor": executor, "run_dir": run_dir}
    config = {"aflow": aflow, "algorithm": {"adv_estimator": "gigpo"}, "data": {"aflow": aflow}}
    run = wandb.init(project="test", name=name, mode="offline", dir=folder, config=config)
    for step, row in steps.items():
        run.log(row, step=step)
    run.finish()
    wandb.teardown()  # else it remembers the environment of this test
    deadline = time.monotonic() + 60  # wandb's own process writes on after finish() has returned
    while len(read_offline_run(folder).history) < len(steps) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_offline_folders_give_runs_with_config_curve_and_closing_figures(tmp_path: Path) -> None:
    final = {
        f"aflow/final/best_{key}": value for key, value in (("score", 0.6), ("low", 0.4), ("high", 0.8), ("n", 24))
    }
    log(tmp_path, "a", 0.5, {1: {"aflow/best_score": 0.3}})
    log(tmp_path, "a", 0.5, {2: {"aflow/best_score": 0.5}, 3: {**final, "aflow/final/cost_usd": 1.5}})
    (run,) = offline_runs([tmp_path])
    assert best_by_step(run) == [(1, 0.3), (2, 0.5)]
    assert run.config["algorithm.adv_estimator"] == "gigpo"
    assert (run.simulated, run.trained, run.cost_usd) == (True, True, 1.5)
    (group,) = summarise([run], ["rl_weight"]).groups
    assert (group.label, group.best.value if group.best else None) == ("rl_weight=0.5", 0.6)
    assert run.closing == {"best": {"score": 0.6, "ci95": [0.4, 0.8], "n": 24}}


def test_paths_that_overlap_hold_a_run_once_and_runs_of_other_folders_are_others(tmp_path: Path) -> None:
    for folder, name in (("x", "a"), ("x", "b"), ("y", "a")):
        log(tmp_path / folder, name, 0.5, {1: {"aflow/best_score": 0.3}})
    paths = [tmp_path, tmp_path / "x", *tmp_path.glob("y/wandb/offline-*")]
    assert sorted(run.name for run in offline_runs(paths)) == ["a", "a", "b"]


def test_the_trainers_copy_of_the_searchs_config_is_no_other_cause(tmp_path: Path) -> None:
    for weight in (0.0, 0.5):
        log(tmp_path, f"w{weight}", weight, {1: {"aflow/final/best_score": weight}})
    assert not any("aflow" in key for run in offline_runs([tmp_path]) for key in run.config)


def test_a_file_that_is_no_log_and_a_project_without_a_key_are_the_users_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.wandb").write_text("nothing of the kind")
    with pytest.raises(ConfigError, match="no wandb log"):
        offline_runs([tmp_path])
    (tmp_path / "x.wandb").write_bytes(b":W&B\0\0\0" + b"\0\0\0\0\x05\0\x01" + b"\xff" * 5)
    with pytest.raises(ConfigError, match="damaged"):
        offline_runs([tmp_path])
    (tmp_path / "x.wandb").write_bytes(b"")
    assert offline_runs([tmp_path]) == [], "a log that has just begun"
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="WANDB_API_KEY"):
        online_runs("someone/something")
