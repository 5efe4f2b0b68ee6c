# SPDX-License-Identifier: Apache-2.0
"""Export a trained policy as a Hugging Face folder, which transformers loads and vLLM serves, by verl's own merger.

verl writes weights in bf16. An adapter (LoRA) is merged into the weights. A model card describes the training, from the
run's store. The folder appears whole or not at all.
"""

import json
import shutil
from contextlib import closing
from pathlib import Path

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.files import whole_folder
from aflow_env.report.loggers import installed
from aflow_env.screen import plural
from aflow_env.store.settings import stored_config
from aflow_env.store.store import Store
from aflow_env.training.trainer.checkpoints import Checkpoint, checkpoints, tracked

HF = "huggingface"
"""verl's folder of config and tokenizer, beside the shards."""
ROLLOUT_TEMPERATURE = "rollout_temperature"
"""In the run's store: the temperature at which the policy answered while it was trained."""


def find_checkpoint(run: Path, step: int | None) -> Checkpoint:
    """Return the checkpoint at `step`, the latest for None. Raises ConfigError that names the steps that there are."""
    steps = [each.step for each in checkpoints(run)]
    if step is None and steps:
        latest = tracked(run)  # verl writes it last: a folder beyond it may be half of a checkpoint
        step = latest.step if latest else steps[-1]
    if step is None or step not in steps:
        there = f"there are steps {', '.join(map(str, steps))}" if steps else "there is none"
        raise ConfigError(
            f"{run} has no checkpoint{'' if step is None else f' of step {step}'}: {there}. Name a run folder of "
            "verl's (trainer.default_local_dir) that was trained with trainer.save_freq > 0"
        )
    return Checkpoint(run, step)


def export_policy(checkpoint: Checkpoint, out: Path) -> None:
    """Write the policy to `out`. Raises ConfigError where `out` is not empty, or the checkpoint is not whole."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"out={out} is not empty: name a new folder")
    for needed in ("fsdp_config.json", f"{HF}/config.json"):
        if not (checkpoint.actor / needed).is_file():
            raise ConfigError(f"{checkpoint.actor} has no {needed}: the checkpoint is not whole, or not one of FSDP's")
    with whole_folder(out) as folder:
        _merge_shards(checkpoint.actor, folder)
        merge_adapter(folder)
        (folder / "README.md").write_text(model_card(checkpoint))


def _merge_shards(actor: Path, out: Path) -> None:
    from verl.model_merger.base_model_merger import ModelMergerConfig
    from verl.model_merger.fsdp_model_merger import FSDPModelMerger

    settings = ModelMergerConfig("merge", "fsdp", str(out), local_dir=str(actor), hf_model_config_path=str(actor / HF))
    merger = FSDPModelMerger(settings)
    merger.merge_and_save()
    merger.cleanup()


def merge_adapter(folder: Path) -> None:
    """Fold `lora_adapter`, where the merger left one, into the weights beside it."""
    adapter = folder / "lora_adapter"
    if not adapter.is_dir():
        return
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().save_pretrained(folder)
    shutil.rmtree(adapter)


def rollout_temperature(run: Path) -> float | None:
    """Return the temperature at which the run's policy was trained; None where its store does not say."""
    store = run / "search" / "run.sqlite"
    if not store.is_file():
        return None
    with closing(Store(store)) as opened:
        found = opened.meta(ROLLOUT_TEMPERATURE)
    return None if found is None else float(found)


def model_card(checkpoint: Checkpoint) -> str:
    """Describe how the policy was trained, as far as the run's store knows."""
    architecture = json.loads((checkpoint.actor / HF / "config.json").read_text())
    store = checkpoint.run / "search" / "run.sqlite"
    config: AflowConfig | None = None
    if store.is_file():
        with closing(Store(store)) as opened:
            config = stored_config(opened)
    lines = [
        "---",
        "library_name: transformers",
        "tags: [verl, aflow_env, gigpo]",
        "---",
        "# A policy that guides searches over agentic workflows",
        "",
        f"Trained by aflow_env inside verl for {plural(checkpoint.step, 'step')}; architecture "
        f"{', '.join(architecture.get('architectures') or [architecture['model_type']])}, weights in bf16.",
    ]
    if config is None:
        lines.append(f"Its run left no store at {store}, so its task and executor are unknown.")
    else:
        simulated = " The executor was SIMULATED: the policy learnt about a simulation."
        lines += [
            f"Task: {config.task.name}. Executor: {config.executor.kind} {config.executor.model}".rstrip() + "."
            f"{simulated if config.executor.kind == 'simulated' else ''}",
            f"rl_weight {config.rl_weight}, {plural(config.rounds, 'round')} a search, Q by {config.q.kind}, proposer "
            f"{config.proposer}, action {config.action}.",
        ]
    if (temperature := rollout_temperature(checkpoint.run)) is not None:
        lines.append(f"Rollouts at temperature {temperature:g}: sample at it, and read its digits at it.")
    found = ", ".join(f"{name} {version}" for name, version in installed().items())
    return "\n".join([*lines, f"Exported with {found}.", ""])
