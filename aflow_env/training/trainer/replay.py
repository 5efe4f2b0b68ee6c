# SPDX-License-Identifier: Apache-2.0
"""Value rows leave the edits' update and get optimiser steps of their own, of earlier training steps too.

The rows of a step that ask for Q leave its batch before verl balances it: no group, no mean and no ratio of the edits
sees them. They are kept, and every step ends with up to `q.replay` mini-batches of them. This is an auxiliary phase as
in phasic policy gradient (Cobbe et al. 2021), with the policy's own answer tokens in the place of a value head, without
cloning term.

Mini-batches are drawn evenly over the distinct pairs of a workflow and an edit of it. A policy that converges proposes
few edits again and again: of 1,196 rows of a run of `make train` 551 asked about two pairs. Of a pair's rows one is
drawn evenly, so its digits have the mean of its scores, each weighted by its number of problems.

The digit of a value row is the one that came true, so an old row is as good as a new one and its gradient is that of
log p(d). Ratios are taken to the policy as it is when the phase begins, and clipped as in any update.

Limits: older weights, whose proposals were others, found the targets. The rows live in TransferQueue, so a resumed run
starts with none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from random import Random
from typing import Any, TypeVar

import torch
import transfer_queue as tq
from transfer_queue import KVBatchMeta

PARTITION = "aflow_replay"
STEPS = 16
"""Training steps whose rows are kept where the policy executes: older weights' scores are no longer its own."""
ROWS = 4096
"""The most rows that are kept, some 300 MB with prompts of 2,000 tokens."""
Tag = dict[str, Any]
Pair = tuple[str, str]
Item = TypeVar("Item")


@dataclass(frozen=True)
class _Row:
    key: str
    tag: Tag
    step: int


class Replay:
    """The value rows of the run by pair, in a partition of TransferQueue that verl does not clear.

    `steps`: of how many training steps rows are kept; None: of all.
    """

    def __init__(self, seed: int, steps: int | None = None, most: int = ROWS) -> None:
        self._seed = seed
        self._steps = steps
        self._most = most
        self._rows: dict[Pair, list[_Row]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    @property
    def pairs(self) -> int:
        """How many distinct pairs the rows ask about."""
        return len(self._rows)

    def take(self, batch: KVBatchMeta, fields: Sequence[dict[str, Any]], step: int) -> KVBatchMeta:
        """Move the value rows of a step here, drop old ones, and return the batch of the other rows.

        `fields` are the agent loop's, one a row; a value row's step reward becomes its advantage.
        """
        rows = [row for row, each in enumerate(fields) if each["kind"] == "value"]
        if rows:
            keys, tags = [batch.keys[row] for row in rows], [batch.tags[row] for row in rows]
            names = [f"{step}/{key}" for key in keys]
            found = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id)
            found["advantages"] = _advantages(found["response_mask"], [fields[row]["step_reward"] for row in rows])
            tq.kv_batch_put(keys=names, partition_id=PARTITION, fields=found, tags=tags)
            tq.kv_clear(keys=keys, partition_id=batch.partition_id)
            for row, name, tag in zip(rows, names, tags, strict=True):
                pair = fields[row]["anchor"], fields[row]["child"]
                self._rows.setdefault(pair, []).append(_Row(name, tag, step))
        if old := list(self._old(step)):
            tq.kv_clear(keys=old, partition_id=PARTITION)
        gone = set(rows)
        return batch.select_keys([key for row, key in enumerate(batch.keys) if row not in gone])

    def draw(self, size: int, most: int, step: int) -> KVBatchMeta | None:
        """Draw up to `most` mini-batches of `size` rows, no row twice; None while one lacks rows."""
        pool = evenly(self._rows.values(), Random(f"{self._seed} {step}"))
        drawn = pool[: size * min(most, len(pool) // size)]
        if not drawn:
            return None
        return KVBatchMeta(partition_id=PARTITION, keys=[row.key for row in drawn], tags=[row.tag for row in drawn])

    def _old(self, step: int) -> Iterable[str]:
        """Forget rows that are too old, then the oldest ones of the pairs with most rows; yield their keys."""
        if self._steps is not None:
            for pair, rows in list(self._rows.items()):
                kept = [row for row in rows if row.step > step - self._steps]
                yield from (row.key for row in rows[: len(rows) - len(kept)])
                self._rows[pair] = kept
        for _ in range(len(self) - self._most):
            yield max(self._rows.values(), key=len).pop(0).key
        self._rows = {pair: rows for pair, rows in self._rows.items() if rows}


def evenly(groups: Iterable[Sequence[Item]], random: Random) -> list[Item]:
    """All items in a random order in which each group comes once before any comes twice, and so on."""
    turns = zip_longest(*(random.sample(group, len(group)) for group in groups))
    present = ([item for item in turn if item is not None] for turn in turns)
    return list(chain.from_iterable(random.sample(turn, len(turn)) for turn in present))


def _advantages(mask_NT: torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """Each row's weight on all tokens of its response; jagged, as the mask is."""
    rows = [torch.full(mask.shape, weight) for mask, weight in zip(mask_NT.unbind(), weights, strict=True)]
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)
