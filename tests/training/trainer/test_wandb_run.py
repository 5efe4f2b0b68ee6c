# SPDX-License-Identifier: Apache-2.0
"""What a run tells wandb is really in its offline file, and a resumed run goes on under its id."""

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

pytest.importorskip("wandb", reason="needs wandb: make setup")
pytest.importorskip("jinja2", reason="needs aflow-env[report]")
pytest.importorskip("verl", reason="needs verl")

import wandb
from verl.utils.tracking import Tracking

from aflow_env.cli.compose import load
from aflow_env.cli.verbs.search import search_to_end as search
from aflow_env.report.loggers import AGAINST, TOP_COLUMNS, figures, top_workflows
from aflow_env.report.wandb_runs import read_offline_run
from aflow_env.store.database import ReadOnlyStore
from aflow_env.training.trainer.wandb_run import continue_run, finish, show
from tests.cli.conftest import SMALL


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wandb") / "run"
    search(load([f"run_dir={folder}", "rounds=4", "rl_weight=0", "proposer=random", *SMALL]), as_json=True)
    return folder


def test_figures_trace_to_the_store(run_dir: Path) -> None:
    """The scalars are those of the run's store, and the best score is there once for each axis."""
    found = figures(str(run_dir), 12.5)
    assert found["aflow/run/rounds"] == 5
    assert found["aflow/run/best_score_low"] <= found["aflow/run/best_score"] <= found["aflow/run/best_score_high"]
    assert found["aflow/run/best_score_n"] == 4
    assert found["aflow/run/cost_usd"] > 0
    assert {found[f"aflow/best_by/{name}"] for name in AGAINST} == {found["aflow/run/best_score"]}


def test_the_leading_workflows_are_distinct_and_say_what_changed(run_dir: Path) -> None:
    """One row a workflow, the best first, with the difference to its parent."""
    store = ReadOnlyStore(run_dir / "run.sqlite")
    rows = [dict(zip(TOP_COLUMNS, row, strict=True)) for row in top_workflows(store)]
    store.close()
    assert rows
    assert len({row["digest"] for row in rows}) == len(rows)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    changed = [row for row in rows if row["modification"] != "start"]
    assert all(row["diff to parent"].startswith("--- parent") for row in changed)


def test_an_offline_run_holds_table_tree_artifact_and_versions(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is on disk when `finish` returns, and wandb's process is gone with it."""
    wandb.teardown()  # what another test of this process made of the environment before
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    tracking = Tracking("test", "a run", ["console", "wandb"], config={})
    try:
        tracking.log(figures(str(run_dir), 1.0), step=1)
        show(tracking.logger, str(run_dir), 1, last=True)
    finally:
        service = wandb.setup().ensure_service()
        finish(tracking)
    assert service._torn_down
    found = read_offline_run(tmp_path)
    assert found.column("aflow/tree/_type")
    logged = {key.split("/")[0] + "/" + key.split("/")[1] for row in found.history for key in row if "/" in key}
    assert {"aflow/top_workflows", "aflow/front", "aflow/tree", "aflow/best_by", "aflow/run"} <= logged
    assert "aflow-env" in found.config["versions"]
    assert "wandb sync" in capsys.readouterr().out
    pages = list(tmp_path.glob("wandb/**/*.html"))
    assert pages
    assert "SIMULATED" in pages[0].read_text()


def test_without_wandb_nothing_is_told(run_dir: Path) -> None:
    """Other loggers get no tables and no artifacts."""
    show({"console": None}, str(run_dir), 1, last=True)


def test_a_resumed_run_keeps_its_id_and_a_fresh_one_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id lies in the run folder; `resume_mode=disable` makes another, and other loggers need none."""

    def id_of(mode: str, **changes: object) -> str | None:
        monkeypatch.delenv("WANDB_RUN_ID", raising=False)
        trainer = {"logger": ["console", "wandb"], "default_local_dir": str(tmp_path / "run"), "resume_mode": mode}
        continue_run(OmegaConf.create({"trainer": trainer | changes}))
        return os.environ.get("WANDB_RUN_ID")

    monkeypatch.setenv("WANDB_RESUME", "allow")
    first = id_of("auto")
    assert first
    assert id_of("auto") == first
    assert id_of("disable") != first
    assert id_of("auto", logger=["console"]) is None
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
