# SPDX-License-Identifier: Apache-2.0
"""Value rows leave the batch and are kept, the oldest go first, and a draw is whole mini-batches without repeats.

TransferQueue is a dictionary here; tests/test_training.py runs the real one.
"""

from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("transfer_queue", reason="needs verl: make setup")
import torch
from tensordict import TensorDict
from transfer_queue import KVBatchMeta

from aflow_env.training.trainer import replay


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
        return {said(row) for (partition, _), row in self.held.items() if partition == replay.PARTITION}


def said(row: TensorDict) -> str:
    """A row's number and its step."""
    return f"{int(row['number'])} of {int(row['step'])}"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(replay, "tq", made)
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
    held = replay.Replay(steps=2, seed=0)
    left = held.take(*step(queue, 1, 3), step=1)
    assert queue.replayed() == {"1 of 1", "3 of 1", "5 of 1"}
    assert len(held) == 3
    assert left.keys == ["edit0", "edit1", "edit2", "edit"]
    assert left.extra_info == {"a": 1}
    assert {key for partition, key in queue.held if partition == "train"} == set(left.keys)


def test_a_value_rows_weight_is_its_advantage(queue: Queue) -> None:
    """On its one token: the loss of the further steps reads it."""
    replay.Replay(steps=2, seed=0).take(*step(queue, 1, 2), step=1)
    found = {key: row for (partition, key), row in queue.held.items() if partition == replay.PARTITION}
    assert {key: row["advantages"].tolist() for key, row in found.items()} == {"1/value0": [1.5], "1/value1": [3.5]}


def test_the_oldest_step_is_dropped_and_cleared(queue: Queue) -> None:
    """Only the rows of the latest steps stay in the queue."""
    held = replay.Replay(steps=2, seed=0)
    for number in (1, 2, 3):
        held.take(*step(queue, number, 1), step=number)
    assert queue.replayed() == {"1 of 2", "1 of 3"}
    assert len(held) == 2


def test_a_step_without_value_rows_changes_nothing(queue: Queue) -> None:
    """Nothing is kept, nothing is drawn, and the batch is whole."""
    held = replay.Replay(steps=2, seed=0)
    assert held.take(*step(queue, 1, 0), step=1).keys == ["edit"]
    assert len(held) == 0
    assert held.draw(size=1, most=1, step=1) is None


@pytest.mark.parametrize(("size", "most", "rows"), [(4, 2, 8), (4, 9, 12), (5, 9, 10), (13, 1, 0)])
def test_a_draw_is_whole_mini_batches_of_different_rows(queue: Queue, size: int, most: int, rows: int) -> None:
    """As many rows as fit, none twice, the same at each try of a step and others at the next step."""
    held = replay.Replay(steps=3, seed=0)
    for number in (1, 2, 3):
        held.take(*step(queue, number, 4), step=number)
    drawn = held.draw(size, most, step=3)
    assert (len(drawn) if drawn else 0) == rows
    if drawn:
        assert drawn.partition_id == replay.PARTITION
        assert len({said(row) for row in queue.kv_batch_get(drawn.keys, replay.PARTITION)}) == rows
        again, later = held.draw(size, most, step=3), held.draw(size, most, step=4)
        assert again is not None
        assert later is not None
        assert again.keys == drawn.keys != later.keys
