# SPDX-License-Identifier: Apache-2.0
"""The figures of a training step, from rows to a wandb offline run and back; verl's own logger in between."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.report.wandb_runs import BLOCK, read_offline_run
from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.rows import Rows, Steps, group_metrics
from aflow_env.training.trainer.metrics import extra_info, session_metrics, step_metrics
from tests.training.named import never_logged

LOG_TWO_STEPS = """
import json, sys
from pathlib import Path
from verl.utils.tracking import Tracking
log = Tracking("aflow_env", "a run", ["wandb"], {"trainer": {}, "aflow": {"seed": 3}})
for step, metrics in enumerate(json.loads(Path(sys.argv[1]).read_text()), start=1):
    log.log(data=metrics, step=step)
"""


@pytest.fixture
def config(tmp_path: Path) -> AflowConfig:
    return load(["rl_weight=0.5", "policy.base_url=http://localhost:1/v1", f"run_dir={tmp_path}"])


def prediction(says: float, came: float, parent: str = "root") -> dict[str, Any]:
    return {"q": says, "mass": 0.9, "q_target": came, "parent": parent, "child": f"{came}"}


def row(session: int, reward: float, predictions: list[dict[str, Any]]) -> dict[str, Any]:
    summary = dict.fromkeys(("start_score", "best_score", "gain", "nodes", "valid", "duplicates", "cached"), 1.0)
    summary |= {
        "turns": 2.0,
        "cost_usd": 0.25,
        "unpriced": 0.0,
        "tokens": 50.0,
        "results": 4.0,
        "ucb": 0.5,
        "return": reward,
    }
    summary |= {
        "outcome_correct": 3.0,
        "outcome_wrong": 1.0,
        "seed": 0,
        "seconds": 4.0,
        "predict_seconds": 0.5,
    }
    return {"kind": "edit", "step_reward": reward, "session": {**summary, "predictions": predictions}, "uid": session}


def figures(config: AflowConfig) -> dict[str, float]:
    """A step of four sessions, one of which failed: what the trainer would log of it."""
    held = [prediction(1 / 9, 0.2), prediction(5 / 9, 0.5), prediction(8 / 9, 0.6)]
    rows = [row(0, 0.5, held[:2]), row(1, 0.25, held[2:]), row(2, 0.0, [])]
    credit = Rows(
        uid=["u"] * 3,
        trajectory=["0", "1", "2"],
        anchor=["root"] * 3,
        step_index=torch.zeros(3, dtype=torch.int64),
        step_reward=torch.tensor([each["step_reward"] for each in rows]),
        is_edit=torch.ones(3, dtype=torch.bool),
        response_mask=torch.ones(3, 2),
    )
    steps = Steps.of(credit)
    found = group_metrics(steps, gigpo(steps, GigpoConfig()))
    groups = {f"aflow/{name}": value for name, value in found.items()}
    return step_metrics([*rows, {"session": {}}], [False] * 3 + [True], config, sessions=4) | groups


def test_figures_are_what_they_say(config: AflowConfig) -> None:
    """Each figure of Q and of the sessions is its definition, computed by hand."""
    found = figures(config)
    errors = [(1 / 9 - 0.2) ** 2, (5 / 9 - 0.5) ** 2, (8 / 9 - 0.6) ** 2]
    assert found["aflow/q_error"] == pytest.approx(sum(errors) / 3)
    assert found["aflow/q_error_constant"] == pytest.approx(0.26 / 9, abs=1e-3)
    assert found["aflow/q_skill"] == pytest.approx(1 - found["aflow/q_error"] / found["aflow/q_error_constant"])
    assert found["aflow/q_corr"] == pytest.approx(1.0)
    assert found["aflow/q_within"] == pytest.approx(1.0), "siblings of several sessions of a search problem"
    assert found["aflow/round_seconds"] == pytest.approx(2.0)
    assert found["aflow/predict_seconds"] == pytest.approx(0.5)
    assert (found["aflow/sessions"], found["aflow/failed_sessions"]) == (3.0, 1.0)
    assert found["aflow/outcome/correct"] == pytest.approx(0.75)


def test_what_is_undefined_is_left_out(config: AflowConfig) -> None:
    """A correlation with a constant is no number, and Q's figures need a question."""
    found = step_metrics([row(0, 0.5, [prediction(5 / 9, 0.5)])], [False], config, sessions=1)
    assert "aflow/q_corr" not in found
    assert "aflow/q_skill" not in found
    nobody_asked = step_metrics([row(0, 0.5, [])], [False], config, sessions=1)
    assert not [name for name in nobody_asked if name.startswith("aflow/q_")]


def test_every_named_metric_is_in_the_wandb_offline_run(config: AflowConfig, tmp_path: Path) -> None:
    """Written by verl's own logger in a process of its own, read back from wandb's file."""
    pytest.importorskip("verl", reason="needs verl")
    steps = [figures(config), figures(config) | {"aflow/long": "x" * (2 * BLOCK)}]
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    environment = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "VERL_USE_EXTERNAL_PLUGINS": "none"}
    done = subprocess.run(
        [sys.executable, "-c", LOG_TWO_STEPS, "steps.json"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    run = read_offline_run(tmp_path)
    assert run.name == "a run"
    assert run.config["aflow"] == {"seed": 3}
    assert never_logged(run) == []
    assert never_logged(run, ("aflow/never_logged",)) == ["aflow/never_logged"]
    assert run.column("aflow/q_error") == pytest.approx([steps[0]["aflow/q_error"]] * 2)
    assert len(run.column("aflow/long")[0]) == 2 * BLOCK, "a record that spans blocks"
    file = next(tmp_path.glob("**/*.wandb"))
    file.write_bytes(file.read_bytes()[: -BLOCK // 2])
    assert len(read_offline_run(file).history) == 1, "a run that was cut short is read as far as it goes"


def test_a_file_that_is_no_wandb_log_is_refused(tmp_path: Path) -> None:
    """A missing log and a foreign file are errors, not empty runs."""
    with pytest.raises(FileNotFoundError):
        read_offline_run(tmp_path)
    (tmp_path / "run.wandb").write_bytes(b"not a log")
    with pytest.raises(ValueError, match="no wandb log"):
        read_offline_run(tmp_path)


def test_a_bill_without_a_price_is_left_out_and_never_0() -> None:
    free = row(0, 0.5, [])["session"]
    assert session_metrics([free])["aflow/cost_usd"] == 0.25
    assert "aflow/cost_usd" not in session_metrics([free, {**free, "unpriced": 1.0}])
    assert extra_info(free)["cost_usd"] == 0.25
    assert "cost_usd" not in extra_info({**free, "unpriced": 1.0})


def test_verl_averages_figures_that_have_a_mean() -> None:
    """Scores, counts and outcomes of a validation, and neither lists nor seeds."""
    told = extra_info(row(0, 0.5, [prediction(0.5, 1.0)])["session"])
    assert told["outcome_correct"] == 3.0
    assert {"start_score", "best_score", "gain", "turns", "valid", "duplicates", "tokens", "nodes"} < told.keys()
    assert {"seed", "predictions", "return"}.isdisjoint(told)
