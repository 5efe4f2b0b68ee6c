# SPDX-License-Identifier: Apache-2.0
"""The rows of a training step in mini-batches: how many rows one has, and which.

verl counts mini-batches in rows, and a search problem of ours is many rows; before a step only their maximum is known.
verl puts padding rows behind all others, gives each rank its share in that order and cuts the share into mini-batches.
The last one would be mostly padding, and still a step of the optimiser. `deal` mixes a share before it is cut. It moves
no row to another rank, so ranks stay balanced.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import gcd
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError

REPLAYED = 32
"""Value rows of a mini-batch. Offline 64 ranked no better than 32 after as many rows, and cost as much."""
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
    devices = int(config.trainer.n_gpus_per_node * config.trainer.nnodes)
    return devices // int(config.actor_rollout_ref.actor.ulysses_sequence_parallel_size)


def mini_batches(config: DictConfig, prompts: int, rows: int, epochs: int) -> AbstractContextManager[None]:
    """Set prompts a mini-batch, rows a prompt and epochs for a while.

    verl reads the three at each call, and multiplies prompts by `rollout.n`.
    """
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


def check_mini_batches(config: DictConfig, aflow: AflowConfig) -> None:
    """Raise ConfigError where ranks cannot share a mini-batch; verl would fail at its first update."""
    prompts = config.actor_rollout_ref.actor.ppo_mini_batch_size
    rows, sharing = rows_of_problem(config, aflow), ranks(config)
    if prompts * rows % sharing:
        raise ConfigError(
            f"actor_rollout_ref.actor.ppo_mini_batch_size={prompts}: {sharing} ranks cannot share a mini-batch of "
            f"{prompts * rows} rows, {rows} a search problem; set it to a multiple of {sharing // gcd(sharing, rows)}"
        )
