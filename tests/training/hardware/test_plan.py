# SPDX-License-Identifier: Apache-2.0
"""The plan counts parameters as torch does, and refuses what cannot fit with the keys that would mend it."""

import pytest

pytest.importorskip("verl", reason="needs verl")
import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from aflow_env.cli.verbs.training import composed
from aflow_env.config import parse
from aflow_env.errors import ConfigError
from aflow_env.training.hardware.gpu_memory import Update, memory_of
from aflow_env.training.hardware.layout import Architecture, architecture, check_layout
from aflow_env.training.hardware.plan import GIB, Plan, costs, plan

MEASURED = (  # MiB of real updates on a CPU: the largest phase of `python -m recipe.bench.memory` (docs/hardware.md)
    ("0.5B", Update(ranks=1, width=4, tokens=1024, log_prob_tokens=1024, device="cpu", sdpa=True), 9161.7),
    ("tiny", Update(ranks=1, width=4, tokens=8192, log_prob_tokens=8192, device="cpu", sdpa=True), 296.9),
    ("tiny", Update(ranks=1, width=4, tokens=4096, log_prob_tokens=4096, device="cpu", sdpa=True), 115.0),
    ("tiny", Update(ranks=1, width=4, tokens=8192, log_prob_tokens=8192, device="cpu", sdpa=True, fused=True), 291.5),
)
TINY = Architecture(hidden=128, layers=2, heads=4, kv_heads=2, intermediate=384, vocabulary=928, tied=True)


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


@pytest.mark.parametrize("rank", [4, 32])
def test_adapters_are_those_that_peft_makes(rank: int) -> None:
    from peft import LoraConfig, get_peft_model

    config = Qwen2Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=112,
        vocab_size=300,
    )
    shape = Architecture(hidden=64, layers=2, heads=4, kv_heads=2, intermediate=112, vocabulary=300, tied=False)
    with torch.device("meta"):
        model = get_peft_model(
            AutoModelForCausalLM.from_config(config),
            LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert shape.adapter_parameters(rank) == trained


@pytest.mark.parametrize(("size", "update", "mib"), MEASURED)
def test_the_formulas_agree_with_measured_updates(size: str, update: Update, mib: float) -> None:
    """Within 15 % of the largest resident set that a real update on a CPU came to."""
    shape = TINY if size == "tiny" else architecture(f"Qwen/Qwen2.5-{size}")
    found = memory_of(shape, update)
    without = found.kept["weights"] + found.kept["Adam"]
    assert max(found.peak, without + found.log_probs) / 2**20 == pytest.approx(mib, rel=0.15)


def test_what_cannot_fit_is_told_with_the_keys_that_mend_it() -> None:
    seven = "model=qwen2_5_7b"
    one = planned(seven, "hardware=one_80gb")
    assert any("offload_policy" in text for text in one.complaints)
    node = planned(seven, "hardware=eight_80gb")
    assert node.complaints == []
    assert node.training.kept["Adam"] == 2 * node.training.kept["weights"]
    assert sum(one.training.kept.values()) == pytest.approx(8 * sum(node.training.kept.values()), rel=1e-6)
    assert any("gpu_memory_utilization" in text for text in planned(seven, "hardware=eight_80gb", memory=30).complaints)


def test_adapters_fit_where_all_weights_do_not() -> None:
    full, lora = (
        planned("model=qwen2_5_3b", "hardware=one_40gb", memory=40),
        planned("model=qwen2_5_3b", "hardware=one_40gb", "tuning=lora", memory=40),
    )
    assert full.complaints
    assert lora.complaints == []
    assert lora.training.kept["Adam"] < full.training.kept["Adam"] / 20


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("model=qwen2_5_7b", "actor_rollout_ref.model.use_fused_kernels=true"), "use_fused_kernels=false"),
        (("actor_rollout_ref.rollout.tensor_model_parallel_size=3",), "does not divide the 8 GPUs"),
        (("actor_rollout_ref.rollout.tensor_model_parallel_size=8",), "does not divide the policy's 12"),
        (("actor_rollout_ref.actor.ppo_max_token_len_per_gpu=4000",), "ppo_max_token_len_per_gpu=4000 is less"),
        (("actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu=9",), "log_prob_max_token_len_per_gpu=9 is less"),
    ],
)
def test_a_layout_that_would_fail_later_is_refused(overrides: tuple[str, ...], said: str) -> None:
    config = composed("aflow_gigpo", list(overrides))
    with pytest.raises(ConfigError, match=said):
        check_layout(config, architecture(str(config.actor_rollout_ref.model.path)))


def test_a_step_costs_what_its_calls_cost() -> None:
    overrides = ["aflow/task=gsm8k", "aflow/executor=anthropic", "aflow.executor.model=claude-haiku-4-5"]
    config = composed("aflow_gigpo", overrides)
    aflow = parse(config.aflow)
    shape = architecture(str(config.actor_rollout_ref.model.path))
    found = plan(config, aflow, shape, 80 * GIB)
    asked = costs(found, aflow, calls=2, prompt=1000, reply=200, row=700, tflops=312, gpu_usd=2.5)
    assert asked.calls == 2 * found.problem_runs
    assert asked.usd == pytest.approx(asked.calls * (1000 * 1e-6 + 200 * 5e-6))
    assert asked.tokens == 700 * found.rows


def test_predicting_32_candidates_costs_under_2_percent_of_a_round() -> None:
    """With a 7B policy, whose prompts are read anew each time, and Claude as executor of 40 problems."""
    overrides = ["aflow/task=gsm8k", "aflow/executor=anthropic", "aflow.executor.model=claude-sonnet-4-5"]
    config = composed("recipe_7b_eight_80gb", [*overrides, "aflow.limit=40"])
    aflow = parse(config.aflow)
    shape = architecture(str(config.actor_rollout_ref.model.path))
    found = plan(config, aflow, shape, 80 * GIB)
    asked = costs(found, aflow, calls=2, prompt=181, reply=212, row=700, tflops=312, gpu_usd=3.6)
    assert asked.prediction_usd == pytest.approx(32 * 700 * 2 * found.parameters / (312e12 * 0.35) * 0.001)
    assert asked.round_usd == pytest.approx(40 * 2 * (181 * 3e-6 + 212 * 15e-6))
    assert 0 < asked.prediction_usd < 0.02 * asked.round_usd


def test_a_step_counts_rows_as_the_trainer_does() -> None:
    found = planned("data.train_batch_size=4", "actor_rollout_ref.rollout.n=8", "aflow.rounds=5", "aflow.limit=10")
    assert found.rows == 4 * 8 * 5 * 2, "an edit row and a value row a round"
    assert found.problem_runs == 4 * 8 * 6 * 10


def test_a_limit_beyond_the_problems_runs_no_more_of_them() -> None:
    """A search scores on all of them then."""
    every = planned().evaluations * 36
    assert planned("aflow.task.train_size=36", "aflow.limit=1000").problem_runs == every
    assert planned("aflow.task.train_size=36", "aflow.limit=9").problem_runs == every // 4
