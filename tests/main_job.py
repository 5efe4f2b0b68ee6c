# SPDX-License-Identifier: Apache-2.0
"""The main job as a user starts it, made small: real verl, FSDP2, vLLM, sandbox and store; a SIMULATED executor."""

import os
import subprocess
import sys
from pathlib import Path

from aflow_env.training.launch.log_lines import metrics_of

SMALL = (
    "aflow.rounds=3",
    "aflow.executor.mode=record",
    "aflow.limit=6",
    "aflow.task.train_size=12",
    "aflow.task.validate_size=8",
    "aflow.task.test_size=8",
    "aflow.problems.validate=1",
    "data.train_batch_size=2",
    "actor_rollout_ref.actor.ppo_mini_batch_size=2",
    "trainer.val_before_train=false",
    "trainer.experiment_name=test",
)


ROOT = Path(__file__).resolve().parents[1]


def start(folder: Path, screen: Path, *overrides: str, **environment: str) -> subprocess.Popen[bytes]:
    """`python -m verl.trainer.main_ppo --config-name aflow_gigpo_cpu` in `folder`, a session of its own.

    Its processes can import `tests`, for a callback that a config names. `screen` gets what a user would see.
    """
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "aflow_gigpo_cpu", *SMALL, *overrides]
    with screen.open("wb") as out:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT)} | environment,
        )


def metrics(log: Path) -> dict[int, dict[str, float]]:
    """Return what verl printed of a run's steps."""
    return metrics_of(log.read_text(errors="replace"))


def train_log(folder: Path) -> Path:
    """Return the log of the run that was started in this folder."""
    return folder / "runs" / "test" / "train.log"
