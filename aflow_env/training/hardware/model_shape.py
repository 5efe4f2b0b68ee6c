# SPDX-License-Identifier: Apache-2.0
"""The shape of a Qwen2 model, as far as memory depends on it, from its config.json or the size in its name."""

import json
import re
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from aflow_env.config import config_directory
from aflow_env.errors import ConfigError


class Architecture(BaseModel):
    """A decoder with grouped-query attention, biases on q, k and v, and a gated MLP."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool

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
        return _read(described)
    sizes = yaml.safe_load((config_directory() / "architectures.yaml").read_text())
    named = re.search(r"qwen2\.5.*?[-_](\d+(?:\.\d+)?B)", model, re.IGNORECASE)
    if named is None or named[1].upper() not in sizes:
        raise ConfigError(
            f"actor_rollout_ref.model.path={model}: its shape is not known here; name a folder with a config.json, "
            f"or a Qwen2.5 model of {', '.join(sizes)}"
        )
    return Architecture(**sizes[named[1].upper()])


def _read(described: Path) -> Architecture:
    found = json.loads(described.read_text())
    if found.get("model_type") != "qwen2":
        raise ConfigError(f"{described}: model_type={found.get('model_type')}; the formulas are those of qwen2")
    return Architecture(
        hidden=found["hidden_size"],
        layers=found["num_hidden_layers"],
        heads=found["num_attention_heads"],
        kv_heads=found["num_key_value_heads"],
        intermediate=found["intermediate_size"],
        vocabulary=found["vocab_size"],
        tied=found.get("tie_word_embeddings", False),
    )
