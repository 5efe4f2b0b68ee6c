# SPDX-License-Identifier: Apache-2.0
"""Each mini-batch has its share of whatever a rank has, and a rank keeps what it has.

Value rows leave the batch and are kept, the oldest go first, and a draw is whole mini-batches without repeats.
TransferQueue is a dictionary here; tests/test_training.py runs the real one.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("verl", reason="needs verl: make setup")
import torch
from tensordict import TensorDict
from transfer_queue import KVBatchMeta

from aflow_env.cli.verbs.training import composed
from aflow_env.config import parse
from aflow_env.errors import ConfigError
from aflow_env.training.trainer import mini_batches as module
from aflow_env.training.trainer.mini_batches import (
    PARTITION,
    UNSAMPLED,
    Replay,
    Stratum,
    check_mini_batches,
    deal,
    mini_batches,
    ranks,
    rows_of_replay,
)
from tests.rl.batches import examples

rows = st.tuples(st.just(False), st.integers(0, 3))
padding = st.just((True, 0))


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Stratum], int, int]:
    """(strata, ranks, mini-batches) of up to 3 x 4 x 9 rows, in any order."""
    ranks, parts, size = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 9))
    count = ranks * parts * size
    return draw(st.lists(rows | padding, min_size=count, max_size=count)), ranks, parts


@examples
@given(batches())
def test_a_rank_keeps_its_rows_and_its_mini_batches_have_equally_many_of_each_kind(
    batch: tuple[list[Stratum], int, int],
) -> None:
    """Equal counts, give or take one, by padding and by stratum."""
    strata, ranks, parts = batch
    order, share = deal(strata, ranks, parts), len(strata) // ranks
    for begin in range(0, len(strata), share):
        mine = order[begin : begin + share]
        assert sorted(mine) == list(range(begin, begin + share))
        cut = [mine[place : place + share // parts] for place in range(0, share, share // parts)]
        for name in (lambda row: strata[row][0], lambda row: strata[row]):
            counts = [Counter(map(name, each)) for each in cut]
            for kind in set(map(name, mine)):
                assert max(each[kind] for each in counts) - min(each[kind] for each in counts) <= 1


@examples
@given(batches())
def test_a_single_mini_batch_stays_as_it_is(batch: tuple[list[Stratum], int, int]) -> None:
    """Where nothing is cut, nothing moves."""
    strata, ranks, _ = batch
    assert deal(strata, ranks, 1) == list(range(len(strata)))


@pytest.mark.parametrize(("devices", "rows"), [(1, 32), (3, 33), (8, 32), (64, 64)])
def test_ranks_can_share_a_mini_batch_of_value_rows(devices: int, rows: int) -> None:
    """The usual number of rows, or the next that is a multiple of the ranks."""
    config = composed("aflow_gigpo", [f"trainer.n_gpus_per_node={devices}", "trainer.nnodes=1"])
    assert ranks(config) == devices
    assert rows_of_replay(config) == rows


@pytest.mark.parametrize("loss_mode", ["vanilla", "gspo"])
def test_a_value_row_is_never_clipped_and_an_edit_row_is(loss_mode: str) -> None:
    """However far the policy has moved, a value row's gradient is that of -log p; verl's own loss cuts the same row."""
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio=0.2)
    for old, slope in ((UNSAMPLED, -1.0), (-3.0, 0.0)):
        log_prob = torch.tensor([[-0.5]], requires_grad=True)
        get_policy_loss_fn(loss_mode)(
            old_log_prob=torch.tensor([[old]]),
            log_prob=log_prob,
            advantages=torch.ones(1, 1),
            response_mask=torch.ones(1, 1),
            loss_agg_mode="seq-mean-token-mean",
            config=config,
            rollout_is_weights=None,
        )[0].backward()
        assert log_prob.grad is not None
        assert log_prob.grad.item() == pytest.approx(slope)


def test_rows_that_come_by_session_are_not_cut_by_round() -> None:
    """As many mini-batches as rounds: every fourth row would be one round of all sessions."""
    order = deal([(False, step) for _ in range(8) for step in range(4)], 1, 4)
    rounds = [row % 4 for row in order]
    assert [sorted(rounds[begin : begin + 8]) for begin in range(0, 32, 8)] == [[0, 0, 1, 1, 2, 2, 3, 3]] * 4


def test_sizes_are_verls_again_also_after_an_error() -> None:
    """The scaled sizes end with the block, whatever ends it."""
    config = composed("aflow_gigpo", ["actor_rollout_ref.actor.ppo_epochs=2"])
    before, reference = config.copy(), config.actor_rollout_ref
    with suppress(KeyError), mini_batches(config, 3, 5, epochs=1):
        sizes = reference.actor.ppo_mini_batch_size, reference.rollout.n, reference.actor.ppo_epochs
        raise KeyError
    assert sizes == (3, 5, 1)
    assert config == before


@pytest.mark.parametrize(("ranks", "prompts", "multiple"), [(3, 2, 3), (5, 4, 5), (18, 2, 9)])
def test_a_mini_batch_that_ranks_cannot_share_is_named_with_the_fix(ranks: int, prompts: int, multiple: int) -> None:
    """Two sessions of four rounds, an edit and a value row each: 16 rows a search problem."""
    overrides = ["actor_rollout_ref.rollout.n=2", "aflow.rounds=4", f"trainer.n_gpus_per_node={ranks}"]

    def check(prompts: int) -> None:
        config = composed("aflow_gigpo", [*overrides, f"actor_rollout_ref.actor.ppo_mini_batch_size={prompts}"])
        check_mini_batches(config, parse(config.aflow))

    check(multiple)
    with pytest.raises(ConfigError, match=f"_size={prompts}: {ranks} ranks cannot share.* multiple of {multiple}$"):
        check(prompts)


class Queue:
    """Rows by partition and key."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], Any] = {}

    def kv_batch_get(self, keys: Sequence[str], partition_id: str) -> TensorDict:
        rows = [self.held[partition_id, key] for key in keys]
        return torch.stack(rows)

    def kv_batch_put(self, keys: Sequence[str], partition_id: str, fields: TensorDict, tags: Any = None) -> None:
        assert len(keys) == len(fields)
        for key, row in zip(keys, fields, strict=True):
            self.held[partition_id, key] = self.held.get((partition_id, key), TensorDict({})).clone().update(row)

    def kv_clear(self, keys: Sequence[str], partition_id: str) -> None:
        for key in keys:
            del self.held[partition_id, key]

    def replayed(self) -> set[str]:
        return {said(row) for (partition, _), row in self.held.items() if partition == PARTITION}


def said(row: TensorDict) -> str:
    """A row's number and its step."""
    return f"{int(row['number'])} of {int(row['step'])}"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(module, "tq", made)
    return made


def step(queue: Queue, number: int, values: int) -> tuple[KVBatchMeta, list[dict[str, Any]]]:
    """A training step's batch of edit rows and value rows, and the agent loop's fields of each."""
    keys = [f"{kind}{row}" for row in range(values) for kind in ("edit", "value")] + ["edit"]
    fields = [{"kind": key.rstrip("0123456789"), "step_reward": 0.5 + place} for place, key in enumerate(keys)]
    for place, key in enumerate(keys):
        row = {"number": torch.tensor(place), "step": torch.tensor(number), "response_mask": torch.ones(1)}
        queue.held["train", key] = TensorDict(row)
    batch = KVBatchMeta(keys=keys, tags=[{"seq_len": 3}] * len(keys), partition_id="train", extra_info={"a": 1})
    return batch, fields


def test_value_rows_leave_the_batch_and_are_kept(queue: Queue) -> None:
    """The update of the edits has edit rows alone, in their order; verl's own notes on the batch stay."""
    held = Replay(steps=2, seed=0)
    left = held.take(*step(queue, 1, 3), step=1)
    assert queue.replayed() == {"1 of 1", "3 of 1", "5 of 1"}
    assert len(held) == 3
    assert left.keys == ["edit0", "edit1", "edit2", "edit"]
    assert left.extra_info == {"a": 1}
    assert {key for partition, key in queue.held if partition == "train"} == set(left.keys)


def test_a_value_rows_weight_is_its_advantage(queue: Queue) -> None:
    """On its one token: the loss of the further steps reads it."""
    Replay(steps=2, seed=0).take(*step(queue, 1, 2), step=1)
    found = {key: row for (partition, key), row in queue.held.items() if partition == PARTITION}
    assert {key: row["advantages"].tolist() for key, row in found.items()} == {"1/value0": [1.5], "1/value1": [3.5]}


def test_the_oldest_step_is_dropped_and_cleared(queue: Queue) -> None:
    """Only the rows of the latest steps stay in the queue."""
    held = Replay(steps=2, seed=0)
    for number in (1, 2, 3):
        held.take(*step(queue, number, 1), step=number)
    assert queue.replayed() == {"1 of 2", "1 of 3"}
    assert len(held) == 2


def test_a_step_without_value_rows_changes_nothing(queue: Queue) -> None:
    """Nothing is kept, nothing is drawn, and the batch is whole."""
    held = Replay(steps=2, seed=0)
    assert held.take(*step(queue, 1, 0), step=1).keys == ["edit"]
    assert len(held) == 0
    assert held.draw(size=1, most=1, step=1) is None


@pytest.mark.parametrize(("size", "most", "rows"), [(4, 2, 8), (4, 9, 12), (5, 9, 10), (13, 1, 0)])
def test_a_draw_is_whole_mini_batches_of_different_rows(queue: Queue, size: int, most: int, rows: int) -> None:
    """As many rows as fit, none twice, the same at each try of a step and others at the next step."""
    held = Replay(steps=3, seed=0)
    for number in (1, 2, 3):
        held.take(*step(queue, number, 4), step=number)
    drawn = held.draw(size, most, step=3)
    assert (len(drawn) if drawn else 0) == rows
    if drawn:
        assert drawn.partition_id == PARTITION
        assert len({said(row) for row in queue.kv_batch_get(drawn.keys, PARTITION)}) == rows
        again, later = held.draw(size, most, step=3), held.draw(size, most, step=4)
        assert again is not None
        assert later is not None
        assert again.keys == drawn.keys != later.keys
