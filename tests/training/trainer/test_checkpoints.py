# SPDX-License-Identifier: Apache-2.0
"""Whatever instant a run is killed at, verl's checkpoint and the run's store are of one step when it goes on.

An exported policy answers as the trained one does, adapter or not, and says how it was trained.
"""

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="needs verl")
import torch
from omegaconf import DictConfig, OmegaConf
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from aflow_env.errors import ConfigError
from aflow_env.store.store import Store
from aflow_env.training.trainer import checkpoints
from aflow_env.training.trainer.checkpoints import (
    LATEST,
    ROLLOUT_TEMPERATURE,
    Checkpoint,
    export_policy,
    find_checkpoint,
    resume_step,
    training_of,
)
from tests.store.read_only import as_nobody, locked_copy
from tests.training.verl_patches.cpu import toy

IDS = torch.tensor([[5, 80, 33, 7, 120]])


def written(run: Path, step: int, ranks: int = 1) -> Checkpoint:
    """A checkpoint as verl leaves it, in verl's order: shards, the sampler's place, the tracker."""
    checkpoint = Checkpoint(run, step)
    checkpoint.actor.mkdir(parents=True)
    for rank in range(ranks):
        for kind in ("model", "optim", "extra_state"):
            torch.save({"step": step}, checkpoint.actor / f"{kind}_world_size_{ranks}_rank_{rank}.pt")
    (checkpoint.actor / "fsdp_config.json").write_text(json.dumps({"FSDP_version": 2, "world_size": ranks}))
    torch.save({"sampler": step}, checkpoint.folder / "data.pt")
    (run / LATEST).write_text(str(step))
    return checkpoint


def going_on(run: Path, **trainer: object) -> DictConfig:
    known = {"resume_mode": "auto", "resume_from_path": None, "default_local_dir": str(run), "nnodes": 1}
    return OmegaConf.create({"trainer": {**known, "n_gpus_per_node": 1, **trainer}})


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def test_a_run_goes_on_after_the_step_that_the_tracker_names(tmp_path: Path) -> None:
    """verl's three modes of resuming: none, the tracker's step, a named folder's step."""
    assert resume_step(going_on(tmp_path)) == 0
    written(tmp_path, 2)
    written(tmp_path, 4)
    assert resume_step(going_on(tmp_path)) == 4
    assert resume_step(going_on(tmp_path, resume_mode="disable")) == 0
    earlier = str(tmp_path / "global_step_2")
    assert resume_step(going_on(tmp_path, resume_mode="resume_path", resume_from_path=earlier)) == 2


@pytest.mark.parametrize("last", ["model_world_size_1_rank_0.pt", "extra_state_world_size_1_rank_0.pt", "data.pt"])
def test_a_kill_before_the_tracker_leaves_the_checkpoint_before(last: str, tmp_path: Path) -> None:
    """verl writes the tracker last, so what is half-written is not gone on from."""
    written(tmp_path, 2)
    newer = written(tmp_path, 4)
    halve(newer.folder / last if last == "data.pt" else newer.actor / last)
    (tmp_path / LATEST).write_text("2")
    assert not newer.whole
    assert resume_step(going_on(tmp_path)) == 2


def test_a_kill_while_the_tracker_is_written_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """verl truncates the tracker first; an empty one would end the next start with int('')."""
    written(tmp_path, 2)
    written(tmp_path, 4)
    (tmp_path / LATEST).write_text("")
    assert resume_step(going_on(tmp_path)) == 4
    assert (tmp_path / LATEST).read_text() == "4", "verl reads it, too"
    assert "goes on from step 4" in capsys.readouterr().out


def test_a_checkpoint_that_is_gone_is_not_training_from_scratch(tmp_path: Path) -> None:
    """verl says "Training from scratch" where the named folder is missing, and overwrites the run."""
    written(tmp_path, 2)
    (tmp_path / LATEST).write_text("4")
    assert resume_step(going_on(tmp_path)) == 2
    halve(tmp_path / "global_step_2" / "data.pt")
    with pytest.raises(ConfigError, match="names no checkpoint that is whole"):
        resume_step(going_on(tmp_path))
    with pytest.raises(ConfigError, match=r"trainer\.resume_from_path=.*no whole checkpoint"):
        resume_step(going_on(tmp_path, resume_mode="resume_path", resume_from_path=str(tmp_path / "global_step_2")))


def test_another_number_of_ranks_is_refused(tmp_path: Path) -> None:
    """verl loads shards by rank, so two ranks' checkpoint needs two ranks."""
    written(tmp_path, 2, ranks=2)
    assert resume_step(going_on(tmp_path, n_gpus_per_node=2)) == 2
    with pytest.raises(ConfigError, match=r"n_gpus_per_node=1: .*which 2 ranks wrote"):
        resume_step(going_on(tmp_path))


def trained(run: Path, step: int, model: torch.nn.Module) -> None:
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
    trained(tmp_path / "run", 3, model)
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


def test_weights_that_were_cut_off_are_not_exported(tmp_path: Path) -> None:
    """The optimiser's state is not needed, and may have been deleted."""
    checkpoint = written(tmp_path, 4)
    (checkpoint.actor / "huggingface").mkdir()
    (checkpoint.actor / "huggingface" / "config.json").write_text("{}")
    (checkpoint.actor / "optim_world_size_1_rank_0.pt").unlink()
    assert checkpoint.has("model")
    halve(checkpoint.actor / "model_world_size_1_rank_0.pt")
    with pytest.raises(ConfigError, match=r"global_step_4/actor lacks shards of the weights.*another step"):
        export_policy(checkpoint, tmp_path / "out")


def test_the_run_of_a_policy_is_read_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colleague exports it."""
    path = tmp_path / "run.sqlite"
    with closing(Store(path)) as store:
        store.set_meta(ROLLOUT_TEMPERATURE, "0.7")
    with locked_copy(path, "run.sqlite") as copy:
        monkeypatch.setattr(checkpoints, "STORE", copy.name)
        assert as_nobody(lambda: training_of(copy.parent)) == repr((None, 0.7))
