# SPDX-License-Identifier: Apache-2.0
"""The rows of a training step in mini-batches: how many rows one has, which, and the value rows that come again.

verl counts mini-batches in rows, and a search problem of ours is many rows; before a step only their maximum is known.
verl puts padding rows behind all others, gives each rank its share in that order and cuts the share into mini-batches.
The last one would be mostly padding, and still a step of the optimiser. `deal` mixes a share before it is cut. It moves
no row to another rank, so ranks stay balanced.

The value rows of a step leave its batch before verl balances it, so no group, mean or ratio of the edits includes them.
They are saved for STEPS training steps. Every step ends with up to `q.replay` mini-batches of them, drawn without
replacement. This is an auxiliary phase as in phasic policy gradient (Cobbe et al. 2021), with the policy's answer
tokens in the place of a value head, without cloning term.

The digit of a value row is drawn around the realised score, so an old row is as good as a new one and its gradient is
that of log p(d). No policy sampled it, so there is no ratio to take or to clip: its old log-probability is the present
one in each update (`without_ratio`).

Limits: older weights, with other proposals, found the targets. The rows are in TransferQueue, so a resumed run starts
with none.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import gcd
from random import Random
from types import ModuleType
from typing import Any

import torch
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf
from transfer_queue import KVBatchMeta

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.training.hardware.layout import sequence_ranks

PARTITION = "aflow_replay"
UNSAMPLED = 1.0
"""The old log-probability of a digit that no policy sampled; no probability has it."""
STEPS = 16
"""Training steps whose value rows are saved."""
REPLAYED = 32
"""Value rows of a mini-batch. 64 rank no better; 12 mini-batches of 8 fit as many rows better and break the policy."""
Stratum = tuple[bool, int]
"""Whether a row is padding, and its step index."""


def deal(strata: Sequence[Stratum], ranks: int, parts: int) -> list[int]:
    """Return the places of the N rows in the order in which verl cuts them: rank by rank, mini-batch by mini-batch.

    N is a multiple of `ranks` * `parts`. Each rank keeps its rows. Its mini-batches have equally many rows of each
    stratum, give or take one: rows are sorted by stratum and dealt out in turn. Without the step index a mini-batch
    could be the first rounds of all sessions, since rows come by session.
    """
    size = len(strata) // ranks
    order: list[int] = []
    for begin in range(0, len(strata), size):
        share = sorted(range(begin, begin + size), key=strata.__getitem__)
        for part in range(parts):
            order += sorted(share[part::parts])
    return order


def rows_of_problem(config: DictConfig, aflow: AflowConfig) -> int:
    """Return the most rows that a search problem can have in a step: an edit a round."""
    return int(config.actor_rollout_ref.rollout.n) * aflow.rounds


def rows_of_replay(config: DictConfig) -> int:
    """Return the rows of a mini-batch of value rows: REPLAYED, or the next number that ranks can share."""
    sharing = ranks(config)
    return -(-REPLAYED // sharing) * sharing


def ranks(config: DictConfig) -> int:
    """Return how many ranks share a mini-batch."""
    return int(config.trainer.n_gpus_per_node * config.trainer.nnodes) // sequence_ranks(config)


def mini_batches(config: DictConfig, prompts: int, rows: int, epochs: int) -> AbstractContextManager[None]:
    """Set prompts a mini-batch, rows a prompt and epochs, which verl reads at each call, for a while."""
    sizes = {"actor.ppo_mini_batch_size": prompts, "rollout.n": rows, "actor.ppo_epochs": epochs}
    return changed(config, {f"actor_rollout_ref.{key}": size for key, size in sizes.items()})


@contextmanager
def changed(config: DictConfig, values: Mapping[str, Any]) -> Iterator[None]:
    """Give keys of verl's config other values for a while."""
    before = {key: OmegaConf.select(config, key) for key in values}
    try:
        for key, value in values.items():
            OmegaConf.update(config, key, value, force_add=True)
        yield
    finally:
        for key, value in before.items():
            OmegaConf.update(config, key, value, force_add=True)


def without_ratio(core_algos: ModuleType) -> None:
    """Let verl's policy losses take an UNSAMPLED token with ratio 1: its gradient is that of log p, never clipped."""
    verls: Callable[[str], Callable[..., Any]] = core_algos.get_policy_loss_fn

    @functools.wraps(verls)
    def get_policy_loss_fn(name: str) -> Callable[..., Any]:
        loss = verls(name)

        @functools.wraps(loss)
        def unclipped(old_log_prob: torch.Tensor, log_prob: torch.Tensor, *more: Any, **named: Any) -> Any:
            old = torch.where(old_log_prob == UNSAMPLED, log_prob.detach(), old_log_prob)
            return loss(old, log_prob, *more, **named)

        return unclipped

    core_algos.get_policy_loss_fn = get_policy_loss_fn  # type: ignore[attr-defined]


def check_mini_batches(config: DictConfig, aflow: AflowConfig) -> None:
    """Raise ConfigError where ranks cannot share a mini-batch; verl would fail at its first update."""
    prompts = config.actor_rollout_ref.actor.ppo_mini_batch_size
    rows, sharing = rows_of_problem(config, aflow), ranks(config)
    if prompts * rows % sharing:
        raise ConfigError(
            f"actor_rollout_ref.actor.ppo_mini_batch_size={prompts}: {sharing} ranks cannot share a mini-batch of "
            f"{prompts * rows} rows, {rows} a search problem; set it to a multiple of {sharing // gcd(sharing, rows)}"
        )


class Replay:
    """The value rows of the latest `steps` training steps, in a partition of TransferQueue that verl does not clear."""

    def __init__(self, steps: int, seed: int) -> None:
        self._steps = steps
        self._seed = seed
        self._saved: deque[list[tuple[str, dict[str, Any]]]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._saved))

    def take(self, batch: KVBatchMeta, fields: Sequence[dict[str, Any]], step: int) -> KVBatchMeta:
        """Move the value rows of a step here, drop the oldest step, and return the batch of the other rows.

        `fields` are the agent loop's, one a row. The step reward of a value row becomes the advantage of all
        tokens of its response, and UNSAMPLED their old log-probability.
        """
        rows = [row for row, each in enumerate(fields) if each["kind"] == "value"]
        if rows:
            keys, tags = [batch.keys[row] for row in rows], [batch.tags[row] for row in rows]
            names = [f"{step}/{key}" for key in keys]
            found = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id)
            masks, weights = found["response_mask"].unbind(), [fields[row]["step_reward"] for row in rows]
            for name, values in (("advantages", weights), ("old_log_probs", [UNSAMPLED] * len(rows))):
                filled = [torch.full(mask.shape, value) for mask, value in zip(masks, values, strict=True)]
                found[name] = torch.nested.as_nested_tensor(filled, layout=torch.jagged)
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
