# SPDX-License-Identifier: Apache-2.0
"""The shape of a Qwen2 policy, and whether it goes with the GPUs and micro-batches that a config names."""

import re
from pathlib import Path
from typing import Literal

import yaml
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aflow_env.config import config_directory, explain
from aflow_env.errors import ConfigError

ROLLOUT, ACTOR = "actor_rollout_ref.rollout", "actor_rollout_ref.actor"


class Architecture(BaseModel):
    """A decoder with grouped-query attention, biases on q, k and v, and a gated MLP, as far as memory depends on it.

    The aliases are the names in a model's config.json.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)
    kind: Literal["qwen2"] = Field(default="qwen2", alias="model_type")
    hidden: int = Field(alias="hidden_size")
    layers: int = Field(alias="num_hidden_layers")
    heads: int = Field(alias="num_attention_heads")
    kv_heads: int = Field(alias="num_key_value_heads")
    intermediate: int = Field(alias="intermediate_size")
    vocabulary: int = Field(alias="vocab_size")
    tied: bool = Field(default=False, alias="tie_word_embeddings")

    @property
    def key_value(self) -> int:
        """Width of the keys, and of the values, of a layer."""
        return self.kv_heads * self.hidden // self.heads

    @property
    def layer_parameters(self) -> int:
        """Parameters of one decoder layer."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.key_value + self.hidden + 2 * self.key_value
        return attention + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding; the output layer has as many, or shares them (`tied`)."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.layers * self.layer_parameters + (2 - self.tied) * self.embedding_parameters + self.hidden

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of LoRA on every linear layer but the output: two thin matrices beside each."""
        to_hidden, to_key_value, mlp = 2 * self.hidden, self.hidden + self.key_value, self.hidden + self.intermediate
        return self.layers * rank * (2 * to_hidden + 2 * to_key_value + 3 * mlp)


def architecture(model: str) -> Architecture:
    """Return the shape of a folder's or a hub model. Raises ConfigError where this machine does not know it."""
    described = Path(model).expanduser() / "config.json"
    if described.is_file():
        try:
            return Architecture.model_validate_json(described.read_bytes())
        except ValidationError as error:
            raise ConfigError(f"{described} describes no qwen2: {explain(error, '')}") from None
    sizes = yaml.safe_load((config_directory() / "architectures.yaml").read_text())
    named = re.search(r"qwen2\.5.*?[-_](\d+(?:\.\d+)?B)", model, re.IGNORECASE)
    if named is None or named[1].upper() not in sizes:
        raise ConfigError(
            f"actor_rollout_ref.model.path={model}: its shape is not known here; name a folder with a config.json, "
            f"or a Qwen2.5 model of {', '.join(sizes)}"
        )
    return Architecture(**sizes[named[1].upper()])


def known_shape(config: DictConfig) -> Architecture | None:
    """Return the policy's shape, or None where this machine does not know it (a hub name, another architecture)."""
    try:
        return architecture(str(config.actor_rollout_ref.model.path))
    except ConfigError:
        return None


def check_layout(config: DictConfig, shape: Architecture | None) -> None:
    """Raise ConfigError that names the key, the value and the fix."""
    node, sequence = int(config.trainer.n_gpus_per_node), sequence_ranks(config)
    if node * config.trainer.nnodes % sequence:
        raise ConfigError(
            f"{ACTOR}.ulysses_sequence_parallel_size={sequence} does not divide the {node * config.trainer.nnodes} "
            f"GPUs of the run: set it to {_divisors(node * config.trainer.nnodes)}"
        )
    _check_micro_batches(config, sequence)
    tensor_parallel = int(config.actor_rollout_ref.rollout.tensor_model_parallel_size)
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


def sequence_ranks(config: DictConfig) -> int:
    """Return how many ranks share a sequence. As in verl, the actor's own key counts only above 1."""
    actor = config.actor_rollout_ref.actor
    own = int(actor.ulysses_sequence_parallel_size)
    return own if own > 1 else int(actor.fsdp_config.ulysses_sequence_parallel_size)


def _check_micro_batches(config: DictConfig, ranks: int) -> None:
    """Refuse a micro-batch that is shorter than a row: verl would stop in the middle of a step."""
    longest = int(config.data.max_prompt_length + config.data.max_response_length)
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
