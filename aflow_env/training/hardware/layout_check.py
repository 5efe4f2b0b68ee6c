# SPDX-License-Identifier: Apache-2.0
"""What must agree between GPUs, micro-batches and the policy's shape, and would else fail after Ray and vLLM are up.

Used by the checks before Ray and by `aflow-env plan`.
"""

from omegaconf import DictConfig

from aflow_env.errors import ConfigError
from aflow_env.training.hardware.model_shape import Architecture, architecture

ROLLOUT, ACTOR = "actor_rollout_ref.rollout", "actor_rollout_ref.actor"


def known_shape(config: DictConfig) -> Architecture | None:
    """The policy's shape, or None where this machine does not know it (a hub name, another architecture)."""
    try:
        return architecture(str(config.actor_rollout_ref.model.path))
    except ConfigError:
        return None


def check_layout(config: DictConfig, shape: Architecture | None) -> None:
    """Raise ConfigError that names the key, the value and the fix."""
    _check_micro_batches(config)
    tensor_parallel, node = int(config.actor_rollout_ref.rollout.tensor_model_parallel_size), _node(config)
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
    """verl stops in the middle of a step at a row that is longer than a micro-batch may be."""
    longest = int(config.data.max_prompt_length + config.data.max_response_length)
    actor, rollout, reference = (config.actor_rollout_ref[name] for name in ("actor", "rollout", "ref"))
    limits = {
        f"{ACTOR}.ppo_max_token_len_per_gpu": (actor.use_dynamic_bsz, actor.ppo_max_token_len_per_gpu),
        f"{ROLLOUT}.log_prob_max_token_len_per_gpu": (
            rollout.log_prob_use_dynamic_bsz,
            rollout.log_prob_max_token_len_per_gpu,
        ),
        "actor_rollout_ref.ref.log_prob_max_token_len_per_gpu": (
            reference.log_prob_use_dynamic_bsz,
            reference.log_prob_max_token_len_per_gpu,
        ),
    }
    ranks = int(actor.ulysses_sequence_parallel_size)
    for key, (used, limit) in limits.items():
        if used and int(limit) * ranks < longest:
            raise ConfigError(
                f"{key}={limit} is less than a row may have: data.max_prompt_length + data.max_response_length = "
                f"{longest}. Set it to {-(-longest // ranks)} or more, or make rows shorter"
            )


def _node(config: DictConfig) -> int:
    return int(config.trainer.n_gpus_per_node)


def _divisors(number: int) -> str:
    return ", ".join(str(each) for each in range(1, number + 1) if number % each == 0)
