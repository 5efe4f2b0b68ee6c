# SPDX-License-Identifier: Apache-2.0
"""The plan counts parameters as torch does, and refuses what cannot fit with the keys that would mend it."""

import pytest

pytest.importorskip("verl", reason="needs verl")
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from aflow_env.cli.plan import composed
from aflow_env.config import parse
from aflow_env.errors import ConfigError
from aflow_env.rl.architecture import Architecture, architecture
from aflow_env.rl.plan import GIB, Plan, plan


def planned(*overrides: str, memory: int = 80) -> Plan:
    config = composed("aflow_gigpo", list(overrides))
    return plan(config, parse(config.aflow), architecture(str(config.actor_rollout_ref.model.path)), memory * GIB)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (8, 2)])
def test_parameters_are_those_that_torch_counts(tied: bool, heads: int, kv_heads: int) -> None:
    shape = Architecture(
        hidden=64, layers=3, heads=heads, kv_heads=kv_heads, intermediate=112, vocabulary=300, tied=tied
    )
    config = Qwen2Config(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=112,
        vocab_size=300,
        tie_word_embeddings=tied,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("size", "billions"), [("0.5B", 0.49), ("1.5B", 1.54), ("3B", 3.09), ("7B", 7.61), ("14B", 14.7)]
)
def test_known_shapes_have_the_published_sizes(size: str, billions: float) -> None:
    shape = architecture(f"Qwen/Qwen2.5-{size}-Instruct")
    assert shape == architecture(f"Qwen/Qwen2.5-Coder-{size}")
    assert shape.parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_an_unknown_shape_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"0.5B, 1.5B, 3B, 7B, 14B"):
        architecture("somebody/Else-7B")


def test_what_cannot_fit_is_told_with_the_keys_that_mend_it() -> None:
    seven = ("actor_rollout_ref.model.path=Qwen/Qwen2.5-7B-Instruct", "trainer.n_gpus_per_node=1")
    one = planned(*seven)
    assert any("optimizer_offload" in text for text in one.complaints)
    node = planned(seven[0], "trainer.n_gpus_per_node=8", "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=8192")
    assert node.complaints == []
    assert node.training["Adam"] == 2 * node.training["weights"]
    assert sum(one.training[name] for name in ("weights", "gradients", "Adam")) == pytest.approx(
        8 * sum(node.training[name] for name in ("weights", "gradients", "Adam")), rel=1e-6
    )


def test_a_step_counts_rows_as_the_trainer_does() -> None:
    found = planned("data.train_batch_size=4", "actor_rollout_ref.rollout.n=8", "aflow.rounds=5", "aflow.limit=10")
    assert found.rows == 4 * 8 * 5 * 2, "an edit row and a value row a round"
    assert found.problem_runs == 4 * 8 * 6 * 10
