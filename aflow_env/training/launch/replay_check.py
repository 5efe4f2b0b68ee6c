# SPDX-License-Identifier: Apache-2.0
"""Check before Ray starts that verl's keys go with value rows, and with further steps on them (`aflow.q.replay`)."""

from omegaconf import DictConfig

from aflow_env.config.search import ValueConfig
from aflow_env.errors import ConfigError

ACTOR = "actor_rollout_ref.actor"


def check_value_rows(config: DictConfig, q: ValueConfig) -> None:
    """Raises ConfigError naming the keys that do not agree, and the fix."""
    if q.rows:
        _check_correction(config)
        _check_replay(config, q)


def _check_correction(config: DictConfig) -> None:
    if (config.algorithm.get("rollout_correction") or {}).get("bypass_mode"):
        raise ConfigError(
            "algorithm.rollout_correction.bypass_mode=true with aflow.q.kind=policy: it takes ratios to the "
            "probability with which the rollout sampled a row, and a value row was not sampled: its digit is the one "
            "that came true. Set algorithm.rollout_correction.bypass_mode=false, or aflow.q.replay=0"
        )


def _check_replay(config: DictConfig, q: ValueConfig) -> None:
    key, rate = f"aflow.q.replay={q.replay}", config.actor_rollout_ref.actor.optim
    if rate.lr_scheduler_type != "constant" or max(rate.lr_warmup_steps, rate.lr_warmup_steps_ratio) > 0:
        raise ConfigError(
            f"{key} with {ACTOR}.optim.lr_scheduler_type={rate.lr_scheduler_type}, lr_warmup_steps="
            f"{rate.lr_warmup_steps}, lr_warmup_steps_ratio={rate.lr_warmup_steps_ratio}: verl's schedule moves on "
            "with each update, so it would run twice as fast; use a constant rate without warm-up, or replay=0"
        )
