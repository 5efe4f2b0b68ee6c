# SPDX-License-Identifier: Apache-2.0
"""The main job as a user starts it, made small: real verl, FSDP2, vLLM, sandbox and store; a SIMULATED executor."""

import os
import subprocess
import sys
import time
from pathlib import Path

from aflow_env.training.launch.log_lines import metrics_of
from aflow_env.training.verl_patches.janitor import alive, descendants, holdings, title

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
ENDLESS = ("trainer.total_training_steps=1000", "trainer.test_freq=-1")
"""For a run that a test ends."""
START = 600.0
"""Seconds for a start on a busy machine with two cores; 50 on an idle one."""
ROOT = Path(__file__).resolve().parents[1]


class Run:
    """`python -m verl.trainer.main_ppo --config-name aflow_gigpo_cpu` in `folder`, a session of its own.

    Its processes can import `tests`, for a callback that a config names. `screen` gets what a user would see.
    """

    def __init__(self, folder: Path, *overrides: str, screen: str = "screen", **environment: str) -> None:
        self.screen, self.log = folder / screen, train_log(folder)
        command = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "aflow_gigpo_cpu"]
        with self.screen.open("wb") as out:
            self.driver = subprocess.Popen(
                [*command, *SMALL, *overrides],
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"COLUMNS": "80", "PYTHONPATH": str(ROOT)} | environment,
            )

    def text(self) -> str:
        """Return the screen so far."""
        return self.screen.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Wait until the screen has the text."""
        deadline = time.monotonic() + START
        while text not in self.text():
            assert self.driver.poll() is None, self.text()[-3000:]
            assert time.monotonic() < deadline, self.text()[-3000:]
            time.sleep(0.5)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self.driver.poll() is None:
            self.driver.terminate()
            self.driver.wait(timeout=60)


class Holdings:
    """What a run has now: its processes, and the shared memory and the sockets that they hold."""

    def __init__(self, run: Run) -> None:
        self.processes = descendants(run.driver.pid)
        self.paths = holdings(self.processes)
        assert any(path.startswith("/dev/shm/") for path in self.paths), "nothing to leave behind: the test is blind"

    def left(self) -> list[str]:
        """Return what is still there."""
        processes = [title(process) for process in self.processes if alive(process)]
        return processes + [path for path in self.paths if Path(path).exists()]


def metrics(log: Path) -> dict[int, dict[str, float]]:
    """Return what verl printed of a run's steps."""
    return metrics_of(log.read_text(errors="replace"))


def train_log(folder: Path) -> Path:
    """Return the log of the run that was started in this folder."""
    return folder / "runs" / "test" / "train.log"
