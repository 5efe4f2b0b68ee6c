# SPDX-License-Identifier: Apache-2.0
"""What the trainer changes of verl's own set-up and steps, seen on verl's own classes.

TransferQueue is a dictionary here, and workers only look at what they are sent; tests/test_training.py runs the real
ones.
"""

import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("verl", reason="needs verl")
import verl.trainer.ppo.v1  # noqa: F401  verl first: its registries load ours
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo import padding_utils
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.tensordict_utils import list_of_dict_to_tensordict, make_iterator

from aflow_env.config import parse
from aflow_env.store.store import Store
from aflow_env.training.trainer import replay, trainer
from aflow_env.training.trainer.replay import PARTITION, Replay
from aflow_env.training.trainer.trainer import POLL_SECONDS, AflowTrainerSync
from tests.training.launch.test_preflight import composed
from tests.training.trainer.test_server_reports import play


class OwnSampler(ReplayBuffer):
    """A user's, by `trainer.v1.sampler.custom_sampler`."""


def made(*overrides: str, **parts: Any) -> Any:
    """A trainer of this config, with what a test needs of the parts that verl would start."""
    found = object.__new__(AflowTrainerSync)
    found.config = composed(*overrides)
    found.aflow = parse(found.config.aflow)
    found.use_critic, found.global_steps, found.tokenizer = False, 1, SimpleNamespace(eos_token_id=0)
    found.use_reference_policy, found._replay = False, Replay(steps=2, seed=0)
    for name, part in parts.items():
        setattr(found, name, part)
    return found


def test_a_step_does_not_wait_two_seconds_for_sessions_that_have_ended() -> None:
    """verl's own buffer polls at our pace."""
    built = made()._build_replay_buffer()
    assert type(built) is ReplayBuffer
    assert built.poll_interval == POLL_SECONDS < 1


def test_each_step_has_the_figures_of_the_run_so_far(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They come after the step's validation, so the best score of a step that validates is the new one."""
    monkeypatch.setattr(PPOTrainerSync, "_compute_metrics", lambda self, batch, metrics, *rest, **more: None)
    with closing(Store(tmp_path / "run.sqlite")) as store:
        play(store, "validate/a", 1, 3, 9)
    run = made(f"aflow.run_dir={tmp_path}", _began=time.monotonic())
    metrics: dict[str, Any] = {"aflow/run/best_score": 0.0}
    run._compute_metrics(None, metrics, {}, global_steps=1, epoch=0)
    assert metrics["aflow/run/best_score"] == metrics["aflow/best_by/cost"] == 0.9
    assert metrics["aflow/run/cost_usd"] == 0


def test_a_samplers_own_pace_is_left_alone() -> None:
    """A user's sampler keeps its interval."""
    own = "trainer.v1.sampler.custom_sampler"
    built = made(f"{own}.path=pkg://{__name__}", f"{own}.name=OwnSampler")._build_replay_buffer()
    assert type(built).__name__ == "OwnSampler"
    assert built.poll_interval == 2.0


class Queue:
    """The rows of one partition, by key."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}

    def kv_batch_get(self, keys: list[str], partition_id: str, select_fields: Any = None) -> TensorDict:
        return list_of_dict_to_tensordict([self.held[key] for key in keys])

    def kv_clear(self, keys: list[str], partition_id: str) -> None:
        for key in keys:
            del self.held[key]

    def kv_batch_put(self, keys: list[str], partition_id: str, fields: TensorDict, tags: Any = None) -> None:
        for key, row in zip(keys, fields, strict=True):
            self.held[key] = {name: getattr(value, "data", value) for name, value in row.items()}


def step_of(queue: Queue, sessions: int, rounds: int, lengths: tuple[int, int]) -> KVBatchMeta:
    """A step as the agent loop leaves it: session by session value rows, of which some are missing, then edit rows."""
    keys, tags = [], []
    for session in range(sessions):
        kinds = ["value"] * (rounds - session % 3) + ["edit"] * rounds
        for index, kind in enumerate(kinds):
            keys.append(f"uid{session % 4}_{session}_{index}")
            tags.append({"seq_len": lengths[kind == "edit"] + session, "is_prompt": False})
            step = index if kind == "value" else index - kinds.count("value")
            fields = {"kind": kind, "step_index": step, "step_reward": 0.1, "name": keys[-1]}
            queue.held[keys[-1]] = {"extra_fields": fields, "response_mask": torch.ones(1)}
    return KVBatchMeta(keys=keys, tags=tags, partition_id="train")


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("updates", [1, 2, 4])
def test_every_update_of_a_step_has_as_many_rows_as_the_others(
    monkeypatch: pytest.MonkeyPatch, ranks: int, updates: int
) -> None:
    """verl fills up and balances; what its workers cut is what their dataloader cuts here."""
    queue = Queue()
    monkeypatch.setattr(padding_utils, "tq", queue)
    monkeypatch.setattr(trainer, "tq", queue)
    monkeypatch.setattr(replay, "tq", queue)
    sizes = ("data.train_batch_size=4", f"actor_rollout_ref.actor.ppo_mini_batch_size={4 // updates}")
    workers = SimpleNamespace(_dispatch_info={"actor": list(range(ranks))})
    run = made(*sizes, "actor_rollout_ref.rollout.n=4", "aflow.rounds=4", actor_rollout_wg=workers)
    batch = run._balance_batch(step_of(queue, 16, 4, (300, 700)), {})

    assert len(batch) == 4 * 4 * 4, "the most that a step can have"
    assert len(run._replay) == sum(4 - session % 3 for session in range(16))
    assert run._step_fields == [queue.held[key]["extra_fields"] for key in batch.keys]
    padding = [tag.get("is_padding", False) for tag in batch.tags]
    kinds = ["padding" if pad else fields["kind"] for pad, fields in zip(padding, run._step_fields, strict=True)]
    share, size = len(batch) // ranks, len(batch) // ranks // updates
    for rank in range(ranks):
        mine = TensorDict({"row": torch.arange(rank * share, (rank + 1) * share)}, batch_size=share)
        cut = list(make_iterator(mine, size, epochs=1, dataloader_kwargs={"shuffle": False}))
        assert len(cut) == updates
        for kind in ("edit", "padding"):
            counts = [sum(kinds[row] == kind for row in each["row"].tolist()) for each in cut]
            assert max(counts) - min(counts) <= 1, (kind, counts)
    assert run.config.actor_rollout_ref.rollout.n == 4


def test_replay_trains_on_no_row_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ppo_epochs` is for the step's own rows: two updates of 32 rows stay two, and verl is told so in its call."""
    sent: list[dict[str, Any]] = []

    def update_actor(batch: KVBatchMeta) -> dict[str, Any]:
        sent.append({"rows": len(batch), **batch.extra_info})
        return {"metrics": {"grad_norm": [1.0], "actor/pg_clipfrac": [0.0], "mfu": [0.0]}}

    class Held:
        pairs = 9

        def __len__(self) -> int:
            return 40

        def draw(self, size: int, most: int, step: int) -> KVBatchMeta:
            keys = [str(row) for row in range(size * most)]
            return KVBatchMeta(keys=keys, tags=[{}] * len(keys), partition_id=PARTITION)

    monkeypatch.setattr(PPOTrainerSync, "_compute_old_log_prob", lambda self, batch, metrics: batch)
    run = made(
        *("aflow.q.replay=2", "actor_rollout_ref.actor.ppo_epochs=3"),
        actor_rollout_wg=SimpleNamespace(update_actor=update_actor),
    )
    metrics = run._update_values(Held())
    (call,) = sent
    assert (call["rows"], call["mini_batch_size"], call["epochs"]) == (64, 32, 1)
    assert metrics["aflow/replay_updates"] == 2
    assert run.config.actor_rollout_ref.actor.ppo_epochs == 3
