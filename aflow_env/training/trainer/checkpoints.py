# SPDX-License-Identifier: Apache-2.0
"""A run's checkpoints: find the one to resume from, and export one as a Hugging Face folder.

Nothing of ours is written beside verl's files. Trees and experience are in the store with their step before a step
trains on them. So the store is never behind a checkpoint, and rows beyond one are removed when the run resumes
(`Store.take_back`). Draws follow from (seed, step); the sampler's place is verl's `data.pt`.

verl writes the shards of all ranks, then `data.pt`, then the tracker, which names the step to resume from. It truncates
the tracker before it writes it, so a kill may leave it empty: `resume_step` mends it. Where the named folder is missing
verl starts from scratch without a word: `resume_step` refuses. With many nodes the paths are on a shared file system.

An export is made by verl's own merger, which writes weights in bf16, for transformers to load and vLLM to serve. An
adapter (LoRA) is merged into the weights. The folder appears whole or not at all.
"""

import json
import shutil
import zipfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.files import whole_folder, write_text
from aflow_env.report.loggers import installed
from aflow_env.screen import plural
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.settings import stored_config

HF = "huggingface"
"""verl's folder of config and tokenizer, beside the shards."""
STORE = Path("search") / "run.sqlite"
ROLLOUT_TEMPERATURE = "rollout_temperature"
"""In the run's store: the temperature at which the policy answered while it was trained."""
LATEST = "latest_checkpointed_iteration.txt"
FOLDER = "global_step_"


@dataclass(frozen=True)
class Checkpoint:
    """verl's checkpoint of a step, and the run folder it belongs to.

    `folder` has the shards of all roles and the sampler's place, `actor` the actor's shards.
    """

    run: Path
    step: int

    @property
    def folder(self) -> Path:
        return self.run / f"{FOLDER}{self.step}"

    @property
    def actor(self) -> Path:
        return self.folder / "actor"

    @property
    def ranks(self) -> int | None:
        """How many ranks wrote it; None where it is not whole, or not FSDP's."""
        try:
            return int(json.loads((self.actor / "fsdp_config.json").read_text())["world_size"])
        except (OSError, ValueError, KeyError):
            return None

    @property
    def whole(self) -> bool:
        """Whether every file for resuming was written to its end."""
        return zipfile.is_zipfile(self.folder / "data.pt") and self.has("model", "optim", "extra_state")

    def has(self, *kinds: str) -> bool:
        """Return whether all shards of these kinds were written to their end. Torch's files are zip archives."""
        ranks = self.ranks or 0
        shards = (f"{kind}_world_size_{ranks}_rank_{rank}.pt" for kind in kinds for rank in range(ranks))
        return ranks > 0 and all(zipfile.is_zipfile(self.actor / name) for name in shards)


def checkpoints(run: Path) -> list[Checkpoint]:
    """Return the checkpoints of a run folder with an actor, whole or not, by step."""
    steps = [each.name.removeprefix(FOLDER) for each in run.glob(f"{FOLDER}*") if (each / "actor").is_dir()]
    return [Checkpoint(run, step) for step in sorted(int(step) for step in steps if step.isdecimal())]


def tracked(run: Path) -> Checkpoint | None:
    """Return the checkpoint that verl's tracker names; None without a tracker, or where a kill left it empty."""
    try:
        text = (run / LATEST).read_text().strip()
    except FileNotFoundError:
        return None
    return Checkpoint(run, int(text)) if text.isdecimal() else None


def resume_step(config: DictConfig) -> int:
    """Return the training step that verl will go on after, 0 from scratch. Mend a tracker that a kill left empty.

    Raises ConfigError for a named checkpoint that is not whole, or that another number of ranks wrote.
    """
    trainer = config.trainer
    if trainer.resume_mode == "disable":
        return 0
    if trainer.resume_mode == "resume_path":
        folder = Path(str(trainer.resume_from_path))
        step = folder.name.removeprefix(FOLDER)
        chosen = Checkpoint(folder.parent, int(step)) if step.isdecimal() else None
        if chosen is None or not chosen.whole:
            raise ConfigError(
                f"trainer.resume_from_path={folder}: there is no whole checkpoint; name a folder {FOLDER}N of a run"
            )
    else:
        run = Path(str(trainer.default_local_dir))
        if not (run / LATEST).is_file():
            return 0
        chosen = tracked(run)
        if chosen is None or not chosen.whole:
            chosen = _mend(run)
    ranks = int(trainer.nnodes) * int(trainer.n_gpus_per_node)
    if chosen.ranks is not None and chosen.ranks != ranks:
        raise ConfigError(
            f"trainer.nnodes x trainer.n_gpus_per_node={ranks}: the run goes on from {chosen.folder}, which "
            f"{chosen.ranks} ranks wrote, and verl loads shards by rank; use as many, or export that policy "
            "(aflow-env export-policy) and start a new run from it (actor_rollout_ref.model.path, another "
            "trainer.default_local_dir)"
        )
    return chosen.step


def _mend(run: Path) -> Checkpoint:
    """Write the latest whole checkpoint into the tracker, and say so."""
    whole = [each for each in checkpoints(run) if each.whole]
    if not whole:
        raise ConfigError(
            f"trainer.default_local_dir={run}: {LATEST} names no checkpoint that is whole, and there is no other; "
            "restore one, or delete that file to train from scratch"
        )
    last = max(whole, key=lambda each: (each.folder / "data.pt").stat().st_mtime_ns)
    write_text(run / LATEST, str(last.step))
    print(f"aflow_env: {run / LATEST} named no whole checkpoint; the run goes on from step {last.step}", flush=True)
    return last


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
    if not checkpoint.has("model"):
        raise ConfigError(f"{checkpoint.actor} lacks shards of the weights, or parts of them: name another step")
    with whole_folder(out) as folder:
        _merge_shards(checkpoint.actor, folder)
        if (folder / "lora_adapter").is_dir():
            _merge_adapter(folder, folder / "lora_adapter")
        (folder / "README.md").write_text(model_card(checkpoint))


def _merge_shards(actor: Path, out: Path) -> None:
    from verl.model_merger.base_model_merger import ModelMergerConfig
    from verl.model_merger.fsdp_model_merger import FSDPModelMerger

    settings = ModelMergerConfig("merge", "fsdp", str(out), local_dir=str(actor), hf_model_config_path=str(actor / HF))
    merger = FSDPModelMerger(settings)
    merger.merge_and_save()
    merger.cleanup()


def _merge_adapter(folder: Path, adapter: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().save_pretrained(folder)
    shutil.rmtree(adapter)


def training_of(run: Path) -> tuple[AflowConfig | None, float | None]:
    """Return the run's config and the temperature of its rollouts; None where its store does not say."""
    if not (run / STORE).is_file():
        return None, None
    with closing(ReadOnlyStore(run / STORE)) as opened:
        temperature = opened.meta(ROLLOUT_TEMPERATURE)
        return stored_config(opened), None if temperature is None else float(temperature)


def model_card(checkpoint: Checkpoint) -> str:
    """Describe how the policy was trained, as far as the run's store knows."""
    architecture = json.loads((checkpoint.actor / HF / "config.json").read_text())
    config, temperature = training_of(checkpoint.run)
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
        lines.append(f"Its run left no store at {checkpoint.run / STORE}, so its task and executor are unknown.")
    else:
        simulated = " The executor was SIMULATED: the policy learnt about a simulation."
        lines += [
            f"Task: {config.task.name}. Executor: {config.executor.kind} {config.executor.model}".rstrip() + "."
            f"{simulated if config.executor.kind == 'simulated' else ''}",
            f"rl_weight {config.rl_weight}, {plural(config.rounds, 'round')} a search, Q by {config.q.kind}, proposer "
            f"{config.proposer}, action {config.action}.",
        ]
    if temperature is not None:
        lines.append(f"Rollouts at temperature {temperature:g}: sample at it, and read its digits at it.")
    found = ", ".join(f"{name} {version}" for name, version in installed().items())
    return "\n".join([*lines, f"Exported with {found}.", ""])
