# SPDX-License-Identifier: Apache-2.0
"""Real runs that lose a part or are told to stop: they end soon, say why, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aflow_env.rl.processes import Process, alive, descendants, holdings, title
from tests.verl_cpu import toy

pytestmark = pytest.mark.real

START = 300.0
"""Seconds for a start on a busy machine with two cores; 50 on an idle one."""
OVERRIDES = """
data.train_batch_size=4 data.max_prompt_length=64 data.max_response_length=32 data.dataloader_num_workers=0
algorithm.adv_estimator=grpo +actor_rollout_ref.model.override_config.attn_implementation=sdpa
actor_rollout_ref.actor.strategy=fsdp2 actor_rollout_ref.actor.use_torch_compile=False
actor_rollout_ref.actor.ppo_mini_batch_size=4 actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4
actor_rollout_ref.rollout.name=vllm actor_rollout_ref.rollout.n=4
actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4 actor_rollout_ref.rollout.calculate_log_probs=True
actor_rollout_ref.rollout.tensor_model_parallel_size=1 actor_rollout_ref.rollout.enforce_eager=True
actor_rollout_ref.rollout.free_cache_engine=False +actor_rollout_ref.rollout.enable_sleep_mode=False
actor_rollout_ref.rollout.agent.num_workers=1 reward.num_workers=1 reward.custom_reward_function.name=score
transfer_queue.backend.SimpleStorage.num_data_storage_units=1 ray_kwargs.ray_init.num_cpus=16
+ray_kwargs.ray_init.num_gpus=1 +ray_kwargs.ray_init.include_dashboard=False trainer.device=cpu
trainer.n_gpus_per_node=1 trainer.nnodes=1 trainer.logger=[console] trainer.total_training_steps=1000
trainer.val_before_train=False trainer.test_freq=-1 trainer.save_freq=-1
+trainer.v1.watched={} trainer.v1.trainer_mode=watched
"""


class Run:
    """verl's own entry point on the toy model, with stock parts and the watchdog."""

    def __init__(self, folder: Path) -> None:
        toy.write(folder)
        self.log = folder / "log"
        root = Path(__file__).resolve().parents[2]
        paths = {
            "data.train_files": folder / "train.jsonl",
            "data.val_files": folder / "train.jsonl",
            "actor_rollout_ref.model.path": folder / "model",
            "reward.custom_reward_function.path": root / "tests/verl_cpu/toy.py",
            "trainer.default_local_dir": folder / "checkpoints",
            "hydra.run.dir": folder / "hydra",
        }
        with self.log.open("w") as log:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "verl.trainer.main_ppo"]
                + OVERRIDES.split()
                + [f"{key}={path}" for key, path in paths.items()],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=root,
                env={**os.environ, "VERL_USE_EXTERNAL_MODULES": "tests.verl_cpu.watched", "AFLOW_DEVICE": "cpu"},
            )

    def text(self) -> str:
        return self.log.read_text(errors="replace")

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
def toy_run(folder: Path) -> Iterator[Run]:
    run = Run(folder)
    try:
        yield run
    finally:
        if run.driver.poll() is None:
            run.driver.terminate()
            run.driver.wait(timeout=60)


def assert_nothing_left(processes: set[Process], paths: set[str]) -> None:
    assert [title(process) for process in processes if alive(process)] == []
    assert [path for path in paths if Path(path).exists()] == []


def test_a_killed_engine_ends_the_run_with_its_name(tmp_path: Path) -> None:
    with toy_run(tmp_path) as run:
        run.wait_for(lambda: "training/global_step:1 " in run.text())
        engine = run.part("VLLM::EngineCore")
        assert engine is not None
        processes = descendants(run.driver.pid)
        paths = holdings(processes)
        assert any(path.startswith("/dev/shm/") for path in paths), "nothing to leave behind: the test is blind"
        os.kill(engine.pid, signal.SIGKILL)
        assert run.driver.wait(timeout=120) != 0
        last = run.text().strip().splitlines()[-1]
        assert "a part of it died" in last
        assert f"VLLM::EngineCore (pid {engine.pid})" in last
        assert_nothing_left(processes, paths)


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    with toy_run(tmp_path) as run:
        run.wait_for(lambda: run.part("VLLM::Worker") is not None)
        processes = descendants(run.driver.pid)
        paths = holdings(processes)
        run.driver.terminate()
        assert run.driver.wait(timeout=60) > 0, "negative: it crashed, or was killed, in the middle of its clean-up"
        assert_nothing_left(processes, paths)
