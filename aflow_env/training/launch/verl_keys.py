# SPDX-License-Identifier: Apache-2.0
"""Check before Ray starts that verl's keys go with ours."""

from omegaconf import DictConfig, OmegaConf

from aflow_env.config import AflowConfig, plain
from aflow_env.config.nodes import ValueConfig
from aflow_env.errors import ConfigError
from aflow_env.store.settings import flat
from aflow_env.training.trainer.estimators import check_switches

NEEDED = {
    "trainer.use_v1": True,
    "actor_rollout_ref.rollout.agent.default_agent_loop": "aflow_search",
    "reward.reward_manager.name": "aflow",
    "actor_rollout_ref.rollout.calculate_log_probs": True,
}
"""Keys of verl, and the value that a run with an `aflow:` node needs."""
COUNTS = (
    *("actor_rollout_ref.rollout.n", "actor_rollout_ref.rollout.tensor_model_parallel_size"),
    *("actor_rollout_ref.rollout.prompt_length", "actor_rollout_ref.rollout.response_length"),
    *("actor_rollout_ref.actor.ppo_mini_batch_size", "actor_rollout_ref.actor.ppo_epochs"),
    *("data.train_batch_size", "data.max_prompt_length", "data.max_response_length"),
    *("trainer.nnodes", "trainer.n_gpus_per_node", "trainer.total_epochs"),
)
"""Keys of verl that are 1 or more in every training."""
_ABORTED = (
    "verl 0.9.1 aborts whatever the rollout server is at when a step's batch is full, and resumes generations alone: "
    "predictions, which come from the server's log-probabilities, would be lost, and one search would mix versions of "
    "the weights, so that Q and the anchors of a group mean different policies"
)
ASYNCHRONOUS = {
    "colocate_async": _ABORTED,
    "separate_async": f"{_ABORTED}; it also needs accelerators of its own for the rollout, and a checkpoint engine "
    "other than naive",
}
"""Modes of verl that are not supported, and why."""


def check_keys(config: DictConfig, aflow: AflowConfig) -> None:
    """Raise ConfigError that names the key, the value and the fix."""
    check_numbers(config)
    check_wiring(config, aflow)
    check_value_rows(config, aflow.q)


def check_numbers(config: DictConfig) -> None:
    """Refuse counts below 1, and whole numbers that verl's libraries cannot store."""
    values = flat(plain(config))
    for key, value in values.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{key}={value}: a number beyond 64 bits; set one below {2**63}")
    for key in COUNTS:
        if isinstance(value := values.get(key), int | float) and value < 1:
            raise ConfigError(f"{key}={value}: set 1 or more")


def check_wiring(config: DictConfig, aflow: AflowConfig) -> None:
    """Check trainer, agent loop, reward manager, proposer, adapter and checkpoints."""
    trainer, model = config.trainer, config.actor_rollout_ref.model
    for key, needed in NEEDED.items():
        if (value := OmegaConf.select(config, key)) != needed:
            raise ConfigError(f"{key}={value}: a run with an aflow: node needs {key}={needed}")
    if (mode := trainer.v1.trainer_mode) != "aflow_sync":
        why = ASYNCHRONOUS.get(mode, "it would train without anchors and step rewards")
        raise ConfigError(f"trainer.v1.trainer_mode={mode}: {why}. Set trainer.v1.trainer_mode=aflow_sync")
    check_switches(config.algorithm)
    if aflow.logger:
        raise ConfigError("aflow.logger: a training logs where trainer.logger says; leave aflow.logger out")
    if aflow.proposer not in ("policy", "guided"):
        raise ConfigError(
            f"aflow.proposer={aflow.proposer}: a training trains on the tokens of proposals that the policy wrote; set "
            "aflow.proposer=policy or guided, or run the search alone: aflow-env search"
        )
    adapter = model.lora_rank > 0 or model.lora.rank > 0 or model.lora_adapter_path is not None
    if adapter and not model.lora.merge and aflow.q.kind != "none":
        raise ConfigError(
            f"actor_rollout_ref.model.lora.merge=false with q.kind={aflow.q.kind}: predictions come from the rollout "
            "server's HTTP interface, which answers from the base weights where an adapter lies beside them, so Q "
            "would be that of the untrained policy; set actor_rollout_ref.model.lora.merge=true"
        )
    kept = trainer.max_actor_ckpt_to_keep
    if trainer.save_freq > 0 and (kept == 1 or trainer.get("remove_previous_ckpt_in_save", False)):
        raise ConfigError(
            f"trainer.max_actor_ckpt_to_keep={kept}: verl removes the old checkpoint before its tracker names the new "
            "one, so a run that is killed in between has none; set 2 or more, or null for all"
        )
    if trainer.v1.sampler.get("sync_refill_failed_groups", False):
        raise ConfigError(
            "trainer.v1.sampler.sync_refill_failed_groups=true: sessions that fail because the budget is spent or the "
            "executor is down would be asked for again without end; set it to false"
        )
    if config.critic.enable:
        raise ConfigError(
            "critic.enable=true: no estimator of aflow_env reads a critic's values, and the search cannot ask it; "
            "leave critic.enable out"
        )


def check_value_rows(config: DictConfig, q: ValueConfig) -> None:
    """Check that verl's keys go with value rows and with further optimiser steps on them (`aflow.q.replay`)."""
    if not q.rows:
        return
    if (config.algorithm.get("rollout_correction") or {}).get("bypass_mode"):
        raise ConfigError(
            "algorithm.rollout_correction.bypass_mode=true with aflow.q.kind=policy: it takes ratios to the "
            "probability with which the rollout sampled a row, and a value row was not sampled: its digit is the one "
            "that came true. Set algorithm.rollout_correction.bypass_mode=false, or aflow.q.replay=0"
        )
    rate, key = config.actor_rollout_ref.actor.optim, "actor_rollout_ref.actor.optim"
    if rate.lr_scheduler_type != "constant" or max(rate.lr_warmup_steps, rate.lr_warmup_steps_ratio) > 0:
        raise ConfigError(
            f"aflow.q.replay={q.replay} with {key}.lr_scheduler_type={rate.lr_scheduler_type}, lr_warmup_steps="
            f"{rate.lr_warmup_steps}, lr_warmup_steps_ratio={rate.lr_warmup_steps_ratio}: verl's schedule moves on "
            "with each update, so it would run twice as fast; use a constant rate without warm-up, or replay=0"
        )
