# SPDX-License-Identifier: Apache-2.0
"""Value replay: value rows get optimiser steps of their own, after the policy's update, and more than one.

A training step has one value row an expansion, of one token each, in the same batch as the edits' rows. That moves the
level of Q and hardly tells one workflow from another (docs/results.md). With `q.replay` the value rows leave that
update (their advantages become 0 there) and are kept for STEPS training steps. Every step ends with up to
`q.replay` mini-batches of `q.replay_rows`, drawn without replacement. This is an auxiliary phase as in phasic policy
gradient (Cobbe et al. 2021), with the policy's own answer tokens in the place of a value head, without cloning term.

The digit of a value row is the one that came true, so an old row is as good as a new one and its gradient is that of
log p(d). Ratios are taken to the policy as it is when the phase begins, and clipped as in any update. A row has no
weight and no mask from its own step, since `algorithm.rollout_correction` is refused (replay_check.py).

Limits: older weights, whose proposals were others, found the targets. The rows live in TransferQueue, so a resumed run
starts with none.
"""

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta

PARTITION = "aflow_replay"
STEPS = 16
"""Training steps whose value rows are kept."""
Tag = dict[str, Any]


class Replay:
    """The value rows of the latest `steps` training steps, in a partition of TransferQueue that verl does not clear."""

    def __init__(self, steps: int, seed: int) -> None:
        self._steps = steps
        self._seed = seed
        self._held: deque[list[tuple[str, Tag]]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._held))

    def take(self, batch: KVBatchMeta, kinds: Sequence[str], step: int) -> None:
        """Copy the value rows of a step, silence them in its batch, and drop the oldest step; `kinds` has one a row.

        The rows stay in the batch, whose size verl relies on, with advantages of 0.
        """
        real = [not tag.get("is_padding", False) for tag in batch.tags]
        rows = [row for row, kind in enumerate(kinds) if kind == "value" and real[row]]
        if rows:
            keys, tags = [batch.keys[row] for row in rows], [batch.tags[row] for row in rows]
            fields = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id)
            names = [f"{step}/{key}" for key in keys]
            tq.kv_batch_put(keys=names, partition_id=PARTITION, fields=fields, tags=tags)
            silent = TensorDict({"advantages": torch.zeros_like(fields["advantages"])}, batch_size=len(keys))
            tq.kv_batch_put(keys=keys, partition_id=batch.partition_id, fields=silent)
            self._held.append(list(zip(names, tags, strict=True)))
        if len(self._held) > self._steps:
            tq.kv_clear(keys=[key for key, _ in self._held.popleft()], partition_id=PARTITION)

    def draw(self, size: int, most: int, step: int) -> KVBatchMeta | None:
        """Draw up to `most` mini-batches of `size` rows, no row twice; None while one lacks rows."""
        pool = [row for each in self._held for row in each]
        count = size * min(most, len(pool) // size)
        if not count:
            return None
        rows = Random(f"{self._seed} {step}").sample(pool, count)
        return KVBatchMeta(partition_id=PARTITION, keys=[key for key, _ in rows], tags=[tag for _, tag in rows])
