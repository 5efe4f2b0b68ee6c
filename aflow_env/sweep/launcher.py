# SPDX-License-Identifier: Apache-2.0
"""`--multirun` over verl's entry point: Hydra's side of a sweep, each job a fresh `python -m verl.trainer.main_ppo`.

Stock verl fails at the second job, because Ray stays up in the driver with the first job's placement groups. A process
for each job also separates memory, environment variables and crashes. Jobs run one after the other by default: a
training job needs the whole machine.

A job's experiment name is the config's own, with `-key=value` for every swept key that is not part of it. Run folder,
checkpoints, outputs and `job.json` (jobs.py) follow from the name. wandb shows the sweep as one group. A job returns
the validate score of its best workflow to the sweeper (Optuna's objective).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.errors import CompactHydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from aflow_env.screen import say
from aflow_env.store.settings import may_change
from aflow_env.sweep import names
from aflow_env.sweep.closing import closing_table, found
from aflow_env.sweep.jobs import EndedJob, Job, run

PARENTS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.sweep", "hydra.mode")
"""Overrides of Hydra that are the sweep's own. The others go on to the jobs."""


class SweepError(CompactHydraException):
    """A sweep that cannot be, or the value of a job that failed. Hydra prints it without a traceback (status 1)."""


class ProcessLauncher:
    """The launcher `aflow_process`. `hydra_plugins.aflow_process_launcher` makes it a plugin of Hydra's."""

    config: DictConfig
    context: HydraContext

    def __init__(self, jobs: int = 1, group: str | None = None) -> None:
        self.at_once = jobs
        self.group = group

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take Hydra's context before `launch`."""
        self.config, self.context = config, hydra_context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs, print how each ended, and return one JobReturn a job."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)  # Optuna's sweeper writes its result there
        jobs = [self.job(list(overrides)) for overrides in job_overrides]
        if clashing := sorted({job.name for job in jobs if [each.name for each in jobs].count(job.name) > 1}):
            raise SweepError(f"several jobs of this sweep would be called {clashing[0]}: sweep each value once")
        ended = run(jobs, self.at_once, say)
        say(closing_table(ended))
        return [_returned(each, list(overrides)) for each, overrides in zip(ended, job_overrides, strict=True)]

    def job(self, overrides: list[str]) -> Job:
        """Return the process, folder and name of one job."""
        what = names.identity(overrides)
        if "aflow.run_dir" in what:
            raise SweepError("aflow.run_dir: jobs must not share one; leave it out, it follows the job's name")
        name = self._name(overrides, what)
        own = [f"trainer.experiment_name={_quoted(name)}"]
        config = self._composed([*overrides, *own])
        if "trainer.default_local_dir" in what:  # the same for every job, so each gets a folder in it
            own.append(f"trainer.default_local_dir={_quoted(str(Path(config.trainer.default_local_dir) / name))}")
            config = self._composed([*overrides, *own])
        folder = Path(config.trainer.default_local_dir)
        hydras = [each for each in self.config.hydra.overrides.hydra if not each.startswith(PARENTS)]
        command = (*_program(), *overrides, *own, *hydras, f"hydra.run.dir={_quoted(str(folder / 'hydra'))}")
        return Job(
            name=name,
            folder=folder,
            run_dir=Path(config.aflow.run_dir),
            command=command,
            identity={"config_name": str(self.config.hydra.job.config_name), **what},
            free=_free,
            environment={"WANDB_RUN_GROUP": self.group or group(self.config.hydra.overrides.task)},
        )

    def _name(self, overrides: list[str], what: Mapping[str, str]) -> str:
        trainer = self._composed(overrides).trainer
        raw: Any = OmegaConf.to_container(trainer, resolve=False)
        chosen = names.swept(what, list(self.config.hydra.overrides.task))
        missing = {key: value for key, value in chosen.items() if not _in(str(raw["experiment_name"]), key)}
        return names.shorten(f"{trainer.experiment_name}{names.suffix(missing)}")

    def _composed(self, overrides: list[str]) -> DictConfig:
        return self.context.config_loader.load_sweep_config(self.config, overrides)


def group(given: Sequence[str]) -> str:
    """Return the sweep's wandb group, the same when the sweep is repeated."""
    return names.shorten(" ".join(each.removeprefix("aflow.") for each in names.sweeps(given)) or "sweep")


def _free(key: str) -> bool:
    """Return whether a job may change the key on the way: how long, how often, how much."""
    if key.startswith("aflow."):
        return may_change(key.removeprefix("aflow."))
    return key.startswith(("trainer.", "ray_kwargs.", "transfer_queue.", "hydra."))


def _in(raw_name: str, key: str) -> bool:
    """Return whether the unresolved experiment name has this key's value already."""
    dotted = key.lstrip("+").replace("/", ".")
    return f"${{{dotted}}}" in raw_name or f"${{{dotted}.name}}" in raw_name


def _program() -> list[str]:
    """Return this very command without its overrides: interpreter, program, folder of configs."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    program = ["-m", spec.name] if spec is not None else [sys.argv[0]]
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for short, long in (("-cp", "--config-path"), ("-cn", "--config-name"), ("-cd", "--config-dir")):
        flags.add_argument(short, long)
    known, _ = flags.parse_known_args(sys.argv[1:])
    where = [f"--{name.replace('_', '-')}={value}" for name, value in vars(known).items() if value is not None]
    return [sys.executable, *program, *where]


def _quoted(text: str) -> str:
    """Quote a value for Hydra's grammar."""
    return "'" + text.replace("'", "\\'") + "'"


def _returned(ended: EndedJob, overrides: list[str]) -> JobReturn:
    if ended.status == "failed":
        again = f"job {ended.job.name} failed, see {ended.job.folder / 'job.log'}"
        return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=SweepError(again))
    said: dict[str, Any] = found(ended.job.run_dir) or {}
    best = said["best"]["score"] if said.get("best") else None
    return JobReturn(
        overrides=overrides, working_dir=str(ended.job.folder), status=JobStatus.COMPLETED, _return_value=best
    )
