# SPDX-License-Identifier: Apache-2.0
"""Real runs that lose a part or are told to stop: they end soon, say why, and leave nothing behind.

The first trains a random Qwen3 for two steps before it loses its engine, so that architecture is seen to train, too.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psutil import Process

from aflow_env.training.verl_patches.janitor import alive, descendants, holdings, title
from tests.main_job import metrics, start, train_log
from tests.training.verl_patches.cpu.architectures import write_qwen3

pytestmark = pytest.mark.real

START = 600.0
"""Seconds for a start on a busy machine with two cores; 50 on an idle one."""


class Run:
    """The main job, without end."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.screen, self.log = folder / "screen", train_log(folder)
        endless = ("trainer.total_training_steps=1000", "trainer.save_freq=-1")
        self.driver = start(folder, self.screen, *endless, *overrides)

    def text(self) -> str:
        return self.screen.read_text(errors="replace")

    def wait_for(self, true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START
        while not true():
            assert self.driver.poll() is None, self.text()[-3000:]
            assert time.monotonic() < deadline, self.text()[-3000:]
            time.sleep(0.5)

    def part(self, name: str) -> Process | None:
        """The process of this run whose title contains `name`."""
        return next((p for p in descendants(self.driver.pid) if name in title(p)), None)


@contextmanager
def main_job(folder: Path, *overrides: str) -> Iterator[Run]:
    run = Run(folder, *overrides)
    try:
        yield run
    finally:
        if run.driver.poll() is None:
            run.driver.terminate()
            run.driver.wait(timeout=60)


def assert_nothing_left(processes: set[Process], paths: set[str]) -> None:
    assert [title(process) for process in processes if alive(process)] == []
    assert [path for path in paths if Path(path).exists()] == []


def test_a_qwen3_trains_and_a_killed_engine_ends_the_run_with_its_name(tmp_path: Path) -> None:
    write_qwen3(tmp_path / "policy")
    qwen3 = (
        f"actor_rollout_ref.model.path={tmp_path / 'policy'}",
        "+data.apply_chat_template_kwargs.enable_thinking=false",
        "actor_rollout_ref.actor.entropy_coeff=0.1",  # no edit of a random model is valid: rewards alone move nothing
    )
    with main_job(tmp_path, *qwen3) as run:
        run.wait_for(lambda: "\n2/1000 " in run.text())
        for step in (1, 2):
            seen = metrics(run.log)[step]
            assert seen["training/rollout_actor_probs_pearson_corr"] > 0.99
            assert seen["actor/grad_norm"] > 0
            assert seen["aflow/failed_sessions"] == 0, "each session was told digits, whatever the policy wrote"
        engine = run.part("VLLM::EngineCore")
        assert engine is not None
        processes = descendants(run.driver.pid)
        paths = holdings(processes)
        assert any(path.startswith("/dev/shm/") for path in paths), "nothing to leave behind: the test is blind"
        ray = [process for process in processes if title(process).startswith("ray::")]
        assert {process.nice() for process in ray} == {Process(run.driver.pid).nice()}, "Ray's own default is 15 more"
        os.kill(engine.pid, signal.SIGKILL)
        assert run.driver.wait(timeout=120) != 0
        *_, died, log = " ".join(run.text().split()).rpartition("the run ends because a part of it died.")
        assert died
        assert f"VLLM::EngineCore (pid {engine.pid})" in log
        assert log.endswith("runs/test/train.log")
        assert_nothing_left(processes, paths)


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    with main_job(tmp_path) as run:
        run.wait_for(lambda: run.part("VLLM::Worker") is not None)
        processes = descendants(run.driver.pid)
        paths = holdings(processes)
        run.driver.terminate()
        assert run.driver.wait(timeout=60) > 0, "negative: it crashed, or was killed, in the middle of its clean-up"
        assert_nothing_left(processes, paths)
