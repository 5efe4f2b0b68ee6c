# SPDX-License-Identifier: Apache-2.0
"""Train value rows in optimiser steps of their own, those of earlier training steps too.

The value rows of a step leave its batch before verl balances it, so no group, mean or ratio of the edits includes them.
They are saved for STEPS training steps. Every step ends with up to `q.replay` mini-batches of them, drawn without
replacement. This is an auxiliary phase as in phasic policy gradient (Cobbe et al. 2021), with the policy's answer
tokens in the place of a value head, without cloning term.

The digit of a value row is drawn around the realised score, so an old row is as good as a new one and its gradient is
that of log p(d). Ratios are to the policy at the begin of the phase, and clipped as in any update.

Limits: older weights, with other proposals, found the targets. The rows are in TransferQueue, so a resumed run starts
with none.
"""

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

import torch
import transfer_queue as tq
from transfer_queue import KVBatchMeta

PARTITION = "aflow_replay"
STEPS = 16
"""Training steps whose value rows are saved."""
Tag = dict[str, Any]


class Replay:
    """The value rows of the latest `steps` training steps, in a partition of TransferQueue that verl does not clear."""

    def __init__(self, steps: int, seed: int) -> None:
        self._steps = steps
        self._seed = seed
        self._saved: deque[list[tuple[str, Tag]]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._saved))

    def take(self, batch: KVBatchMeta, fields: Sequence[dict[str, Any]], step: int) -> KVBatchMeta:
        """Move the value rows of a step here, drop the oldest step, and return the batch of the other rows.

        `fields` are the agent loop's, one a row. The step reward of a value row becomes the advantage of all
        tokens of its response.
        """
        rows = [row for row, each in enumerate(fields) if each["kind"] == "value"]
        if rows:
            keys, tags = [batch.keys[row] for row in rows], [batch.tags[row] for row in rows]
            names = [f"{step}/{key}" for key in keys]
            found = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id)
            weights, masks = [fields[row]["step_reward"] for row in rows], found["response_mask"].unbind()
            advantages = [torch.full(mask.shape, weight) for mask, weight in zip(masks, weights, strict=True)]
            found["advantages"] = torch.nested.as_nested_tensor(advantages, layout=torch.jagged)
            tq.kv_batch_put(keys=names, partition_id=PARTITION, fields=found, tags=tags)
            tq.kv_clear(keys=keys, partition_id=batch.partition_id)
            self._saved.append(list(zip(names, tags, strict=True)))
        if len(self._saved) > self._steps:
            tq.kv_clear(keys=[key for key, _ in self._saved.popleft()], partition_id=PARTITION)
        gone = set(rows)
        return batch.select_keys([key for row, key in enumerate(batch.keys) if row not in gone])

    def draw(self, size: int, most: int, step: int) -> KVBatchMeta | None:
        """Draw up to `most` mini-batches of `size` rows, no row twice; None while one lacks rows."""
        pool = [row for each in self._saved for row in each]
        count = size * min(most, len(pool) // size)
        if not count:
            return None
        rows = Random(f"{self._seed} {step}").sample(pool, count)
        return KVBatchMeta(partition_id=PARTITION, keys=[key for key, _ in rows], tags=[tag for _, tag in rows])
