# SPDX-License-Identifier: Apache-2.0
"""Whatever instant a run is killed at, verl's checkpoint and the run's store are of one step when it goes on."""

import json
import os
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from aflow_env.errors import ConfigError
from aflow_env.training.trainer.checkpoints import LATEST, Checkpoint, resume_step


def written(run: Path, step: int, ranks: int = 1) -> Checkpoint:
    """A checkpoint as verl leaves it, in verl's order: shards, the sampler's place, the tracker."""
    checkpoint = Checkpoint(run, step)
    checkpoint.actor.mkdir(parents=True)
    for rank in range(ranks):
        for kind in ("model", "optim", "extra_state"):
            torch.save({"step": step}, checkpoint.actor / f"{kind}_world_size_{ranks}_rank_{rank}.pt")
    (checkpoint.actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": ranks}))
    torch.save({"sampler": step}, checkpoint.folder / "data.pt")
    (run / LATEST).write_text(str(step))
    return checkpoint


def going_on(run: Path, **trainer: object) -> DictConfig:
    known = {"resume_mode": "auto", "resume_from_path": None, "default_local_dir": str(run), "nnodes": 1}
    return OmegaConf.create({"trainer": {**known, "n_gpus_per_node": 1, **trainer}})


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def test_a_run_goes_on_after_the_step_that_the_tracker_names(tmp_path: Path) -> None:
    """verl's three modes of resuming: none, the tracker's step, a named folder's step."""
    assert resume_step(going_on(tmp_path)) == 0
    written(tmp_path, 2)
    written(tmp_path, 4)
    assert resume_step(going_on(tmp_path)) == 4
    assert resume_step(going_on(tmp_path, resume_mode="disable")) == 0
    earlier = str(tmp_path / "global_step_2")
    assert resume_step(going_on(tmp_path, resume_mode="resume_path", resume_from_path=earlier)) == 2


@pytest.mark.parametrize("last", ["model_world_size_1_rank_0.pt", "extra_state_world_size_1_rank_0.pt", "data.pt"])
def test_a_kill_before_the_tracker_leaves_the_checkpoint_before(last: str, tmp_path: Path) -> None:
    """verl writes the tracker last, so what is half-written is not gone on from."""
    written(tmp_path, 2)
    newer = written(tmp_path, 4)
    halve(newer.folder / last if last == "data.pt" else newer.actor / last)
    (tmp_path / LATEST).write_text("2")
    assert not newer.whole
    assert resume_step(going_on(tmp_path)) == 2


def test_a_kill_while_the_tracker_is_written_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """verl truncates the tracker first; an empty one would end the next start with int('')."""
    written(tmp_path, 2)
    written(tmp_path, 4)
    (tmp_path / LATEST).write_text("")
    assert resume_step(going_on(tmp_path)) == 4
    assert (tmp_path / LATEST).read_text() == "4", "verl reads it, too"
    assert "goes on from step 4" in capsys.readouterr().out


def test_a_checkpoint_that_is_gone_is_not_training_from_scratch(tmp_path: Path) -> None:
    """verl says "Training from scratch" where the named folder is missing, and overwrites the run."""
    written(tmp_path, 2)
    (tmp_path / LATEST).write_text("4")
    assert resume_step(going_on(tmp_path)) == 2
    halve(tmp_path / "global_step_2" / "data.pt")
    with pytest.raises(ConfigError, match="names no checkpoint that is whole"):
        resume_step(going_on(tmp_path))
    with pytest.raises(ConfigError, match=r"trainer\.resume_from_path=.*no whole checkpoint"):
        resume_step(going_on(tmp_path, resume_mode="resume_path", resume_from_path=str(tmp_path / "global_step_2")))


def test_another_number_of_ranks_is_refused(tmp_path: Path) -> None:
    """verl loads shards by rank, so two ranks' checkpoint needs two ranks."""
    written(tmp_path, 2, ranks=2)
    assert resume_step(going_on(tmp_path, n_gpus_per_node=2)) == 2
    with pytest.raises(ConfigError, match=r"n_gpus_per_node=1: .*which 2 ranks wrote"):
        resume_step(going_on(tmp_path))
