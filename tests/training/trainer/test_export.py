# SPDX-License-Identifier: Apache-2.0
"""An exported policy answers as the trained one does, adapter or not, and says how it was trained."""

import json
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="needs verl")
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from aflow_env.errors import ConfigError
from aflow_env.store.store import Store
from aflow_env.training.trainer.export import ROLLOUT_TEMPERATURE, export_policy, find_checkpoint
from tests.training.verl_patches.cpu import toy

IDS = torch.tensor([[5, 80, 33, 7, 120]])


def written(run: Path, step: int, model: torch.nn.Module) -> None:
    """A checkpoint as verl's FSDP engine leaves it on one rank."""
    actor = run / f"global_step_{step}" / "actor"
    actor.mkdir(parents=True)
    tokens = toy.tokenizer()
    tokens.save_pretrained(actor / "huggingface")
    config = toy.model(len(tokens), tied=True).config
    config.architectures = ["Qwen2ForCausalLM"]
    config.save_pretrained(actor / "huggingface")
    (actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": 1}))
    torch.save(model.state_dict(), actor / "model_world_size_1_rank_0.pt")
    (run / "latest_checkpointed_iteration.txt").write_text(str(step))


def log_probs(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=IDS).logits.float(), dim=-1)


@pytest.mark.parametrize("adapter", [False, True])
def test_the_exported_policy_has_the_trained_ones_log_probs(adapter: bool, tmp_path: Path) -> None:
    """The folder answers as the trained policy does, with its adapter merged, and its card says how it was trained."""
    model = toy.model(len(toy.tokenizer()), tied=True)
    for parameter in model.parameters():  # the merger writes bf16: let nothing be lost by that
        parameter.data = parameter.data.to(torch.bfloat16).float()
    if adapter:
        before = log_probs(model)
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(1))
        assert (log_probs(model) - before).abs().max() > 0.05, "an adapter that does nothing shows nothing"
    written(tmp_path / "run", 3, model)
    if adapter:
        facts = {"r": 4, "lora_alpha": 8, "task_type": "CAUSAL_LM"}
        (tmp_path / "run/global_step_3/actor/lora_train_meta.json").write_text(json.dumps(facts))
    with closing(Store(tmp_path / "run" / "search" / "run.sqlite")) as store:
        store.set_meta(ROLLOUT_TEMPERATURE, "0.7")
    export_policy(find_checkpoint(tmp_path / "run", None), tmp_path / "out")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert (log_probs(exported) - log_probs(model)).abs().max() < (0.05 if adapter else 1e-5)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == len(toy.tokenizer())
    assert not (tmp_path / "out" / "lora_adapter").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "for 3 steps" in card
    assert "at temperature 0.7" in card, "whoever serves it has to sample as training did"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_a_checkpoint_that_is_missing_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    """The error lists the steps that exist, and a checkpoint that is not whole is refused."""
    with pytest.raises(ConfigError, match="there is none"):
        find_checkpoint(tmp_path, None)
    (tmp_path / "global_step_7" / "actor").mkdir(parents=True)
    with pytest.raises(ConfigError, match="step 8: there are steps 7"):
        find_checkpoint(tmp_path, 8)
    with pytest.raises(ConfigError, match="not whole"):
        export_policy(find_checkpoint(tmp_path, None), tmp_path / "out")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """An export overwrites nothing."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    (tmp_path / "global_step_7" / "actor").mkdir(parents=True)
    with pytest.raises(ConfigError, match="not empty"):
        export_policy(find_checkpoint(tmp_path, 7), tmp_path / "out")
