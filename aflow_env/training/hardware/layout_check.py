# SPDX-License-Identifier: Apache-2.0
"""Check that GPUs, micro-batches and the policy's shape agree, before Ray and in `aflow-env plan`."""

from omegaconf import DictConfig

from aflow_env.errors import ConfigError
from aflow_env.training.hardware.model_shape import Architecture, architecture

ROLLOUT = "actor_rollout_ref.rollout"


def known_shape(config: DictConfig) -> Architecture | None:
    """Return the policy's shape, or None where this machine does not know it (a hub name, another architecture)."""
    try:
        return architecture(str(config.actor_rollout_ref.model.path))
    except ConfigError:
        return None


def check_layout(config: DictConfig, shape: Architecture | None) -> None:
    """Raise ConfigError that names the key, the value and the fix."""
    _check_micro_batches(config)
    tensor_parallel = int(config.actor_rollout_ref.rollout.tensor_model_parallel_size)
    node = int(config.trainer.n_gpus_per_node)
    if node % tensor_parallel:
        raise ConfigError(
            f"{ROLLOUT}.tensor_model_parallel_size={tensor_parallel} does not divide the {node} GPUs of a node "
            f"(trainer.n_gpus_per_node): set it to {_divisors(node)}"
        )
    if shape is None:
        return
    if shape.heads % tensor_parallel:
        raise ConfigError(
            f"{ROLLOUT}.tensor_model_parallel_size={tensor_parallel} does not divide the policy's {shape.heads} "
            f"attention heads: set it to {_divisors(shape.heads)}"
        )
    model = config.actor_rollout_ref.model
    if model.use_fused_kernels and not shape.tied and config.actor_rollout_ref.actor.strategy == "fsdp2":
        raise ConfigError(
            f"actor_rollout_ref.model.use_fused_kernels=true with {model.path}: its output layer does not share the "
            "embedding's weight, so FSDP2 shards it by itself, and verl 0.9.1's fused loss reads it without gathering "
            "it. Set actor_rollout_ref.model.use_fused_kernels=false"
        )


def _check_micro_batches(config: DictConfig) -> None:
    """Refuse a micro-batch that is shorter than a row: verl would stop in the middle of a step."""
    longest = int(config.data.max_prompt_length + config.data.max_response_length)
    ranks = int(config.actor_rollout_ref.actor.ulysses_sequence_parallel_size)
    for role, prefix in (("actor", "ppo"), ("rollout", "log_prob"), ("ref", "log_prob")):
        node, key = config.actor_rollout_ref[role], f"{prefix}_max_token_len_per_gpu"
        used = node.use_dynamic_bsz if role == "actor" else node.log_prob_use_dynamic_bsz
        if used and int(node[key]) * ranks < longest:
            raise ConfigError(
                f"actor_rollout_ref.{role}.{key}={node[key]} is less than a row may have: data.max_prompt_length + "
                f"data.max_response_length = {longest}. Set it to {-(-longest // ranks)} or more, or make rows shorter"
            )


def _divisors(number: int) -> str:
    return ", ".join(str(each) for each in range(1, number + 1) if number % each == 0)
