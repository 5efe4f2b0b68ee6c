# SPDX-License-Identifier: Apache-2.0
"""What the trainer changes of verl's own set-up and steps, seen on verl's own classes.

TransferQueue is a dictionary here, and workers only look at what they are sent; tests/test_training.py runs the real
ones. What a run tells wandb is really in its offline file.
"""

import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("verl", reason="needs verl")
pytest.importorskip("wandb", reason="needs wandb: make setup")
pytest.importorskip("jinja2", reason="needs aflow-env[report]")
import verl.trainer.ppo.v1  # noqa: F401  verl first: its registries load ours
import wandb
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo import padding_utils
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.tensordict_utils import list_of_dict_to_tensordict, make_iterator
from verl.utils.tracking import Tracking

from aflow_env.cli.compose import load
from aflow_env.cli.verbs.search import search_to_end as search
from aflow_env.config import parse
from aflow_env.report.loggers import AGAINST, TOP_COLUMNS, figures, top_workflows
from aflow_env.report.wandb_runs import read_offline_run
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.store import Store
from aflow_env.training.trainer import mini_batches, trainer
from aflow_env.training.trainer.mini_batches import PARTITION, Replay
from aflow_env.training.trainer.trainer import POLL_SECONDS, AflowTrainerSync, finish, show
from tests.cli.conftest import SMALL
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
    monkeypatch.setattr(mini_batches, "tq", queue)
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

    run = made(
        *("aflow.q.replay=2", "actor_rollout_ref.actor.ppo_epochs=3"),
        actor_rollout_wg=SimpleNamespace(update_actor=update_actor),
    )
    metrics = run._update_values(Held())
    (call,) = sent
    assert (call["rows"], call["mini_batch_size"], call["epochs"]) == (64, 32, 1)
    assert metrics["aflow/replay_updates"] == 2
    assert run.config.actor_rollout_ref.actor.ppo_epochs == 3


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
