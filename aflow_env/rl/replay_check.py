# SPDX-License-Identifier: Apache-2.0
"""What further optimiser steps on value rows (`aflow.q.replay`) cannot go with; checked before Ray starts."""

from omegaconf import DictConfig

from aflow_env.errors import ConfigError

ACTOR = "actor_rollout_ref.actor"


def check_replay(config: DictConfig, replay: int, rows: int) -> None:
    """Raises ConfigError naming the keys that do not agree, and the fix; `rows` are those of an optimiser step."""
    if not replay:
        return
    key, actor = f"aflow.q.replay={replay}", config.actor_rollout_ref.actor
    rate = actor.optim
    if rate.lr_scheduler_type != "constant" or max(rate.lr_warmup_steps, rate.lr_warmup_steps_ratio) > 0:
        raise ConfigError(
            f"{key} with {ACTOR}.optim.lr_scheduler_type={rate.lr_scheduler_type}, lr_warmup_steps="
            f"{rate.lr_warmup_steps}, lr_warmup_steps_ratio={rate.lr_warmup_steps_ratio}: verl's schedule moves on "
            "with each update, so it would run twice as fast; use a constant rate without warm-up, or replay=0"
        )
    if (config.algorithm.get("rollout_correction") or {}).get("bypass_mode", False):
        raise ConfigError(
            f"{key} with algorithm.rollout_correction.bypass_mode=true: ratios would be to the policy of the row's own "
            "step, and clipped away; set bypass_mode=false, or replay=0"
        )
    ranks = int(config.trainer.n_gpus_per_node * config.trainer.nnodes) // int(actor.ulysses_sequence_parallel_size)
    if rows % ranks:
        raise ConfigError(
            f"{key} with q.replay_rows={rows}: {ranks} ranks cannot share them; set q.replay_rows to a multiple of "
            f"{ranks}"
        )
