# SPDX-License-Identifier: Apache-2.0
"""`logger=[wandb,tensorboard,jsonl]`: a search tells its loggers what a training does, without verl."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("wandb", reason="needs aflow-env[log]")
pytest.importorskip("tensorboard", reason="needs aflow-env[log]")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from aflow_env.report.wandb_runs import read_offline_run
from tests.cli.conftest import SMALL, Command


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, and nothing that another test has set."""
    for name in ("API_KEY", "DIR", "RUN_ID", "RUN_GROUP", "PROJECT", "MODE", "RESUME"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("NETRC", "/nowhere")


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_all_loggers_have_the_same_figures_under_the_names_of_a_training(aflow: Command, tmp_path: Path) -> None:
    """And wandb has tables, the tree and the config; a resumed search goes on in all of them, under one id."""
    run = tmp_path / "run"
    search = ("search", f"run_dir={run}", "logger=[wandb,tensorboard,jsonl]", *SMALL)
    said = aflow(*search, "rounds=2")
    assert said.status == 0, said.err
    assert f"wandb sync {run}/wandb/offline-run-" in said.err
    logged = lines(run)
    assert [line["step"] for line in logged] == [1, 2, 2]
    *_, last_round, end = [line["data"] for line in logged]
    assert isinstance(last_round, dict)
    assert isinstance(end, dict)
    for name in ("best_score", "start_score", "gain", "valid_rate", "cost_usd", "tokens", "rl_weight"):
        assert f"aflow/{name}" in last_round
    for name in ("run/best_score", "best_by/cost"):
        assert f"aflow/{name}" in last_round
    assert {"aflow/final/best_score", "aflow/final/test_n", "aflow/final/cost_usd"} <= end.keys()
    scalars = EventAccumulator(str(run / "tensorboard"))
    scalars.Reload()
    assert set(scalars.Tags()["scalars"]) == {name for line in logged for name in line["data"]}  # type: ignore[attr-defined]
    assert scalars.Scalars("aflow/run/best_score")[-1].value == pytest.approx(end["aflow/run/best_score"])
    found = read_offline_run(run)
    assert found.name == "run"
    assert found.config["aflow"]["rounds"] == 2
    assert found.column("aflow/final/best_score") == [end["aflow/final/best_score"]]
    names = {name.rpartition("/")[0] for row in found.history for name in row}
    assert {"aflow/top_workflows", "aflow/front", "aflow/tree"} <= names
    first = (run / "wandb_run_id").read_text()
    assert aflow(*search, "rounds=3").status == 0
    assert (run / "wandb_run_id").read_text() == first
    assert {folder.name.rpartition("-")[2] for folder in (run / "wandb").glob("offline-run-*")} == {first}
    assert [line["step"] for line in lines(run)] == [1, 2, 2, 3, 3]
    assert aflow(*search[:2], "logger=[jsonl]", *SMALL, "rounds=3").status == 0
    assert [line["step"] for line in lines(run)] == [1, 2, 2, 3, 3, 3], "an end without a round is of the last one"


def test_a_sweep_is_one_group(aflow: Command, tmp_path: Path) -> None:
    """The group is named by what is swept, as that of a training's sweep."""
    sizes = ("rounds=1", "final_calls=0", "logger=[wandb]", *SMALL)
    said = aflow("sweep", "seed=1,2", *sizes, "--jobs", "1", "--out", tmp_path)
    assert said.status == 0, said.err
    assert [read_offline_run(tmp_path / f"seed={seed}").group for seed in (1, 2)] == ["seed=1,2"] * 2


def test_nothing_of_a_training_is_imported(tmp_path: Path) -> None:
    """A search is light, with loggers too, and works where only `aflow-env[log]` is installed."""
    program = (
        "import sys; from aflow_env.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: assert not {'verl', 'torch', 'ray', 'transformers'} & sys.modules.keys(), 'imported'"
    )
    search = ["search", f"run_dir={tmp_path}", "rounds=1", "logger=[tensorboard,jsonl]", *SMALL]
    done = subprocess.run([sys.executable, "-c", program, *search], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert lines(tmp_path)


def test_a_logger_that_does_not_exist_is_refused(aflow: Command, tmp_path: Path) -> None:
    """The error names the key."""
    said = aflow("search", f"run_dir={tmp_path}", "logger=[mlflow]", *SMALL)
    assert said.status == 2
    assert "logger" in said.err
