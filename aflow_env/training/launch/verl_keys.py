# SPDX-License-Identifier: Apache-2.0
"""Check before Ray starts that verl's keys go with ours."""

from typing import Annotated, Any, Literal

from omegaconf import DictConfig
from pydantic import BeforeValidator, Field, Strict, TypeAdapter, ValidationError

from aflow_env.config import AflowConfig, explain, plain
from aflow_env.config.nodes import ValueConfig
from aflow_env.errors import ConfigError
from aflow_env.store.settings import flat
from aflow_env.training.trainer.estimators import check_switches

Whole = Annotated[int, Strict()]
Count = Annotated[Whole, Field(ge=1)]
Names = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
ROLLOUT, ACTOR, MODEL = (f"actor_rollout_ref.{role}" for role in ("rollout", "actor", "model"))
TYPES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (Count, ("trainer.nnodes", "trainer.n_gpus_per_node", "trainer.total_epochs", f"{ROLLOUT}.n")),
    (Count, ("data.train_batch_size", "data.max_prompt_length", "data.max_response_length")),
    (Count, (f"{ROLLOUT}.prompt_length", f"{ROLLOUT}.response_length", f"{ROLLOUT}.tensor_model_parallel_size")),
    (Count, (f"{ACTOR}.ppo_mini_batch_size", f"{ACTOR}.ppo_epochs", f"{ACTOR}.ulysses_sequence_parallel_size")),
    (Count, (f"{ACTOR}.ppo_max_token_len_per_gpu", f"{ROLLOUT}.log_prob_max_token_len_per_gpu")),
    (Count, (f"{ACTOR}.fsdp_config.ulysses_sequence_parallel_size",)),
    (Whole, ("trainer.save_freq", "data.train_max_samples", "data.val_max_samples")),
    (Annotated[Whole, Field(ge=0)], (f"{MODEL}.lora_rank", f"{MODEL}.lora.rank")),
    (Whole | None, ("trainer.total_training_steps", "trainer.max_actor_ckpt_to_keep")),
    (Annotated[float, Strict(), Field(gt=0)], (f"{ROLLOUT}.temperature",)),
    (Annotated[float, Strict()], (f"{ACTOR}.optim.lr_warmup_steps", f"{ACTOR}.optim.lr_warmup_steps_ratio")),
    (Names, ("data.train_files", "data.val_files", "trainer.logger")),
    (dict[str, Any], ("data.apply_chat_template_kwargs",)),
    (dict[str, Any] | None, ("algorithm.rollout_correction",)),
    (Literal["auto", "disable", "resume_path"], ("trainer.resume_mode",)),
    (Literal[True], ("trainer.use_v1", f"{ROLLOUT}.calculate_log_probs")),
    (Literal["aflow_search"], (f"{ROLLOUT}.agent.default_agent_loop",)),
    (Literal["aflow"], ("reward.reward_manager.name",)),
    (Literal["aflow_sync"], ("trainer.v1.trainer_mode",)),  # docs/training.md says why no other mode will do
)
"""The keys of verl that a run with an `aflow:` node reads, by the type or the value that it needs."""


def check_keys(config: DictConfig, aflow: AflowConfig) -> None:
    """Raise ConfigError that names the key, the value and the fix."""
    check_types(config)
    check_wiring(config, aflow)
    check_value_rows(config, aflow.q)


def check_types(config: DictConfig) -> None:
    """Refuse values of another type than TYPES has, and whole numbers that verl's libraries cannot store."""
    found = plain(config)
    for key, value in flat(found).items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ConfigError(f"{key}={value}: a number beyond 64 bits; set one below {2**63}")
    for kind, keys in TYPES:
        for key in keys:
            given: Any = found
            for name in key.split("."):
                given = given.get(name) if isinstance(given, dict) else None
            try:
                TypeAdapter(kind).validate_python(given)
            except ValidationError as error:
                raise ConfigError(explain(error, key)) from None


def check_wiring(config: DictConfig, aflow: AflowConfig) -> None:
    """Check estimator, proposer, adapter and checkpoints."""
    trainer, model = config.trainer, config.actor_rollout_ref.model
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
    """Check that verl's schedule goes with the further optimiser steps on value rows (`aflow.q.replay`)."""
    if not q.rows:
        return
    rate, key = config.actor_rollout_ref.actor.optim, "actor_rollout_ref.actor.optim"
    if rate.lr_scheduler_type != "constant" or max(rate.lr_warmup_steps, rate.lr_warmup_steps_ratio) > 0:
        raise ConfigError(
            f"aflow.q.replay={q.replay} with {key}.lr_scheduler_type={rate.lr_scheduler_type}, lr_warmup_steps="
            f"{rate.lr_warmup_steps}, lr_warmup_steps_ratio={rate.lr_warmup_steps_ratio}: verl's schedule moves on "
            "with each update, so it would run twice as fast; use a constant rate without warm-up, or replay=0"
        )
