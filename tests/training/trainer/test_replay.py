# SPDX-License-Identifier: Apache-2.0
"""Value rows leave their update and are kept, the oldest go first, and a draw is whole mini-batches without repeats.

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
        return torch.stack([self.held[partition_id, key] for key in keys])

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
    """A row's number, its step, and its advantage."""
    return f"{int(row['number'])} of {int(row['step'])}: {float(row['advantages'])}"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    made = Queue()
    monkeypatch.setattr(replay, "tq", made)
    return made


def step(queue: Queue, number: int, values: int) -> tuple[KVBatchMeta, list[str]]:
    """A training step's batch: edit rows, value rows, and a padding row that is a copy of a value row."""
    keys = [f"{kind}{row}" for row in range(values) for kind in ("edit", "value")] + ["padding"]
    kinds = [key.rstrip("0123456789") for key in keys[:-1]] + ["value"]
    tags = [{"seq_len": 3, "is_padding": key == "padding"} for key in keys]
    for place, key in enumerate(keys):
        row = {"number": place, "step": number, "advantages": 1.0}
        queue.held["train", key] = TensorDict({name: torch.tensor(value) for name, value in row.items()})
    return KVBatchMeta(keys=keys, tags=tags, partition_id="train"), kinds


def test_value_rows_alone_are_kept_and_padding_is_none(queue: Queue) -> None:
    """A padding row that copies a value row is not replayed."""
    held = replay.Replay(steps=2, seed=0)
    held.take(*step(queue, 1, 3), step=1)
    assert queue.replayed() == {"1 of 1: 1.0", "3 of 1: 1.0", "5 of 1: 1.0"}
    assert len(held) == 3


def test_a_value_row_teaches_nothing_in_the_update_of_the_edits(queue: Queue) -> None:
    """Its advantage there is 0; edits and padding keep theirs."""
    batch, kinds = step(queue, 1, 2)
    replay.Replay(steps=2, seed=0).take(batch, kinds, step=1)
    left = {key: float(queue.held["train", key]["advantages"]) for key in batch.keys}
    assert left == {"edit0": 1.0, "value0": 0.0, "edit1": 1.0, "value1": 0.0, "padding": 1.0}


def test_the_oldest_step_is_dropped_and_cleared(queue: Queue) -> None:
    """Only the rows of the latest steps stay in the queue."""
    held = replay.Replay(steps=2, seed=0)
    for number in (1, 2, 3):
        held.take(*step(queue, number, 1), step=number)
    assert queue.replayed() == {"1 of 2: 1.0", "1 of 3: 1.0"}
    assert len(held) == 2


def test_a_step_without_value_rows_changes_nothing(queue: Queue) -> None:
    """Nothing is kept, and nothing is drawn."""
    held = replay.Replay(steps=2, seed=0)
    held.take(*step(queue, 1, 0), step=1)
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
