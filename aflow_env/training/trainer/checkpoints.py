# SPDX-License-Identifier: Apache-2.0
"""Find the checkpoint that a run resumes from.

Nothing of ours is written beside verl's files. Trees and experience are in the store with their step before a step
trains on them. So the store is never behind a checkpoint, and rows beyond one are removed when the run resumes
(`Store.take_back`). Draws follow from (seed, step); the sampler's place is verl's `data.pt`.

verl writes the shards of all ranks, then `data.pt`, then the tracker, which names the step to resume from. It truncates
the tracker before it writes it, so a kill may leave it empty: `resume_step` mends it. Where the named folder is missing
verl starts from scratch without a word: `resume_step` refuses. With many nodes the paths are on a shared file system.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from aflow_env.errors import ConfigError
from aflow_env.files import write_text

LATEST = "latest_checkpointed_iteration.txt"
FOLDER = "global_step_"


@dataclass(frozen=True)
class Checkpoint:
    """verl's checkpoint of a step, and the run folder it belongs to."""

    run: Path
    step: int

    @property
    def folder(self) -> Path:
        """Shards of all roles, and the sampler's place."""
        return self.run / f"{FOLDER}{self.step}"

    @property
    def actor(self) -> Path:
        """The folder of the actor's shards."""
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
        """Whether every file for resuming was written to its end (torch's files are zip archives)."""
        if not self.actor.is_dir():
            return False
        ranks = self.ranks or 0
        shards = [
            self.actor / f"{kind}_world_size_{ranks}_rank_{rank}.pt"
            for kind in ("model", "optim", "extra_state")
            for rank in range(ranks)
        ]
        return all(zipfile.is_zipfile(path) for path in [self.folder / "data.pt", *shards])


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
