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
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from aflow_env.screen import say
from aflow_env.store.settings import may_change
from aflow_env.sweep.jobs import EndedJob, Job, SweepError, closing_table, last_report_of, run

PARENTS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.sweep", "hydra.mode")
"""Overrides of Hydra that are the sweep's own. The others go on to the jobs."""

NAME_BYTES = 120
"""A longer name is cut and ends in a hash of the whole, so that it fits a file system."""


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
        ended = run(jobs, self.at_once, say)
        say(closing_table(ended))
        return [_returned(each, list(overrides)) for each, overrides in zip(ended, job_overrides, strict=True)]

    def job(self, overrides: list[str]) -> Job:
        """Return the process, folder and name of one job."""
        what = identity(overrides)
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
        chosen = swept(what, list(self.config.hydra.overrides.task))
        missing = {key: value for key, value in chosen.items() if not _in(str(raw["experiment_name"]), key)}
        return shorten(f"{trainer.experiment_name}{suffix(missing)}")

    def _composed(self, overrides: list[str]) -> DictConfig:
        return self.context.config_loader.load_sweep_config(self.config, overrides)


def identity(overrides: Iterable[str]) -> dict[str, str]:
    """Return key -> value of a job's overrides; `+key` and `++key` are `key`, while `~key` keeps its mark."""
    return {key.lstrip("+"): value for key, _, value in (override.partition("=") for override in overrides)}


def swept(job: Mapping[str, str], given: Sequence[str]) -> dict[str, str]:
    """Return the job's values that a sweeper chose: the command did not fix them."""
    parsed = [each for each in OverridesParser.create().parse_overrides(list(given)) if not each.is_sweep_override()]
    fixed = {each.get_key_element().lstrip("+"): each.get_value_element_as_str() for each in parsed}
    return {key: value for key, value in job.items() if fixed.get(key) != value}


def group(given: Sequence[str]) -> str:
    """Return the sweep's wandb group, the same when the sweep is repeated."""
    parsed = OverridesParser.create().parse_overrides(list(given))
    several = (str(each.input_line) for each in parsed if each.is_sweep_override())
    return shorten(" ".join(each.removeprefix("aflow.") for each in several) or "sweep")


def suffix(chosen: Mapping[str, str]) -> str:
    """Return `-key=value` for each, by the last part of the key where that is clear, safe for a folder's name."""
    leaves = {key: re.split(r"[./]", key)[-1] for key in sorted(chosen)}
    often = Counter(leaves.values())
    named = {key: leaf if often[leaf] == 1 else key.replace("/", ".") for key, leaf in leaves.items()}
    return "".join(f"-{_safe(name)}={_safe(chosen[key])}" for key, name in named.items())


def shorten(name: str) -> str:
    """Return the name, or its beginning and a hash."""
    encoded = name.encode()
    if len(encoded) <= NAME_BYTES:
        return name
    return f"{encoded[: NAME_BYTES - 9].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:8]}"


def _safe(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text).strip("_") or "_"


def _free(key: str) -> bool:
    """Return whether a job may change the key on the way: how long, how often, how much."""
    if key.startswith("aflow."):
        return may_change(key.removeprefix("aflow."))
    return key.startswith(("trainer.", "ray_kwargs.", "transfer_queue.", "hydra."))


def _in(raw_name: str, key: str) -> bool:
    """Return whether the unresolved experiment name has this key's value already."""
    dotted = key.replace("/", ".")
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


def _quoted(value: object) -> str:
    """Quote a value for Hydra's grammar."""
    return QuotedString(text=str(value), quote=Quote.single).with_quotes()


def _returned(ended: EndedJob, overrides: list[str]) -> JobReturn:
    if ended.status == "failed":
        again = f"job {ended.job.name} failed, see {ended.job.folder / 'job.log'}"
        return JobReturn(overrides=overrides, status=JobStatus.FAILED, _return_value=SweepError(again))
    said: dict[str, Any] = last_report_of(ended.job) or {}
    best = said["best"]["score"] if said.get("best") else None
    return JobReturn(
        overrides=overrides, working_dir=str(ended.job.folder), status=JobStatus.COMPLETED, _return_value=best
    )
