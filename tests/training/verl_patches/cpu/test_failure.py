# SPDX-License-Identifier: Apache-2.0
"""A real run that loses its engine ends soon, says why, and leaves nothing behind.

It trains a random Qwen3 for two steps before, so that architecture is seen to train, too. The run of two ranks
(test_two_ranks.py) is told to stop.
"""

import os
import signal
from pathlib import Path

import pytest
from psutil import Process

from aflow_env.training.verl_patches.janitor import title
from tests.main_job import ENDLESS, Holdings, Run, metrics
from tests.training.verl_patches.cpu.architectures import write_qwen3

pytestmark = pytest.mark.real


def test_a_qwen3_trains_and_a_killed_engine_ends_the_run_with_its_name(tmp_path: Path) -> None:
    write_qwen3(tmp_path / "policy")
    qwen3 = (
        f"actor_rollout_ref.model.path={tmp_path / 'policy'}",
        "+data.apply_chat_template_kwargs.enable_thinking=false",
        "actor_rollout_ref.actor.entropy_coeff=0.1",  # no edit of a random model is valid: rewards alone move nothing
    )
    with Run(tmp_path, *ENDLESS, "trainer.save_freq=-1", *qwen3) as run:
        run.wait_for("\n2/1000 ")
        for step in (1, 2):
            seen = metrics(run.log)[step]
            assert seen["training/rollout_actor_probs_pearson_corr"] > 0.99
            assert seen["actor/grad_norm"] > 0
            assert seen["aflow/failed_sessions"] == 0, "each session was told digits, whatever the policy wrote"
        held = Holdings(run)
        ray = [process for process in held.processes if title(process).startswith("ray::")]
        assert {process.nice() for process in ray} == {Process(run.driver.pid).nice()}, "Ray's own default is 15 more"
        (engine,) = [process for process in held.processes if "VLLM::EngineCore" in title(process)]
        os.kill(engine.pid, signal.SIGKILL)
        assert run.driver.wait(timeout=120) != 0
        *_, died, log = " ".join(run.text().split()).rpartition("the run ends because a part of it died.")
        assert died
        assert f"VLLM::EngineCore (pid {engine.pid})" in log
        assert log.endswith("runs/test/train.log")
        assert held.left() == []
