# SPDX-License-Identifier: Apache-2.0
"""World size 2 on a CPU, for real: two FSDP2 ranks over gloo, two vLLM replicas, two agent-loop workers; a Qwen3.

Two training steps of the main job, which then loses an engine. Each replica's weights come from one rank's own
gathering of the shards, so what the replicas hold is what the ranks hold. The model is random: no edit of it is valid.
"""

import json
import os
import signal
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("verl", reason="needs verl: make setup")
pytest.importorskip("vllm", reason="needs vllm: make setup")
import torch
from psutil import Process
from transformers import AutoModelForCausalLM

from aflow_env.llm.budget import Ledger
from aflow_env.training.trainer.checkpoints import export_policy, find_checkpoint
from aflow_env.training.verl_patches.janitor import title
from tests.main_job import ENDLESS, Holdings, Run, metrics
from tests.training.verl_patches.cpu.architectures import write_qwen3

pytestmark = pytest.mark.real
STEPS = 2


@dataclass(frozen=True)
class Ended:
    """A run whose engine was killed: its folder, its metrics by step, the policy that it began with, and its end.

    `nice` are the priorities of Ray's processes less the driver's.
    """

    folder: Path
    steps: dict[int, dict[str, float]]
    policy: Path
    engine: int
    status: int
    screen: str
    left: list[str]
    nice: set[int]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("two")
    write_qwen3(folder / "policy")
    overrides = (
        f"actor_rollout_ref.model.path={folder / 'policy'}",
        "+data.apply_chat_template_kwargs.enable_thinking=false",
        "trainer.n_gpus_per_node=2",
        "actor_rollout_ref.rollout.agent.num_workers=2",
        "actor_rollout_ref.rollout.disable_log_stats=false",  # the replicas count what they answer
        "actor_rollout_ref.actor.entropy_coeff=0.1",  # where no edit is valid, rewards alone move nothing
        "actor_rollout_ref.actor.optim.lr=2e-3",
        f"trainer.save_freq={STEPS}",
        "trainer.checkpoint_callback_class=tests.training.verl_patches.cpu.replicas.AskReplicas",
    )
    with Run(folder, *ENDLESS, *overrides) as job:
        job.wait_for(f"\n{STEPS}/1000 ")
        held, own = Holdings(job), Process(job.driver.pid).nice()
        nice = {each.nice() - own for each in held.processes if title(each).startswith("ray::")}
        engine, _ = [each for each in held.processes if "VLLM::EngineCore" in title(each)]
        os.kill(engine.pid, signal.SIGKILL)
        status = job.driver.wait(timeout=120)
        left = held.left()
    said = " ".join(job.text().split())
    return Ended(folder / "runs" / "test", metrics(job.log), folder / "policy", engine.pid, status, said, left, nice)


def log_probs(policy: Path, ids: list[int]) -> np.ndarray:
    """The model's, in transformers, of a text's tokens but the first."""
    model = AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        scores = torch.log_softmax(model(torch.tensor([ids])).logits.float(), -1)[0, :-1]
    return scores[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()


def test_both_replicas_hold_what_was_trained_and_the_exported_policy_is_the_same(run: Ended, tmp_path: Path) -> None:
    export_policy(find_checkpoint(run.folder, None), tmp_path / "exported")
    found = json.loads((run.folder / f"global_step_{STEPS}" / "replicas.json").read_text())
    first, second = map(np.array, found["log_probs"])
    assert np.array_equal(first, second), "the two ranks gathered different parameters"
    exported, untrained = (log_probs(folder, found["ids"]) for folder in (tmp_path / "exported", run.policy))
    assert np.abs(exported - untrained).mean() > 0.1, "nothing was learnt: a stale replica would go unseen"
    assert np.abs(exported - first).mean() < 0.05  # bf16: 8 bits of mantissa


def test_both_replicas_served_and_agree_with_the_actor(run: Ended) -> None:
    """Every row's log-probs by the replica that sampled it agree with the actor's, on every step."""
    found = json.loads((run.folder / f"global_step_{STEPS}" / "replicas.json").read_text())
    assert min(found["answered"]) > 0, "the load balancer knows both"
    assert min(run.steps[step]["training/rollout_actor_probs_pearson_corr"] for step in (1, 2)) > 0.99
    for step in range(1, STEPS + 1):
        assert run.steps[step]["global_seqlen/balanced_max"] / run.steps[step]["global_seqlen/balanced_min"] < 1.5
        assert run.steps[step]["actor/grad_norm"] > 0


def test_two_agent_loop_workers_share_the_store_and_the_ledger(run: Ended) -> None:
    """All sessions are in one store, and each was told digits, whatever the policy wrote."""
    store = sqlite3.connect(run.folder / "search" / "run.sqlite")
    sessions = "SELECT step, count(*) FROM sessions WHERE problem LIKE 'train/%' AND step <= ? GROUP BY step"
    assert store.execute(sessions, (STEPS,)).fetchall() == [(step, 8) for step in range(1, STEPS + 1)]
    spent = Ledger(run.folder / "search" / "ledger.sqlite").totals()
    kept = store.execute("SELECT count(*) FROM completions").fetchone()[0]
    assert spent.certain.calls + spent.uncertain.calls + spent.reserved.calls >= kept > 0
    assert all(run.steps[step]["aflow/failed_sessions"] == 0 for step in range(1, STEPS + 1))


def test_a_killed_engine_ends_the_run_with_its_name_and_leaves_nothing(run: Ended) -> None:
    assert run.status != 0
    *_, died, log = run.screen.rpartition("the run ends because a part of it died.")
    assert died
    assert f"VLLM::EngineCore (pid {run.engine})" in log
    assert log.endswith("runs/test/train.log")
    assert run.left == []


def test_rays_processes_run_as_readily_as_the_driver(run: Ended) -> None:
    """Ray's own default is 15 more."""
    assert run.nice == {0}
