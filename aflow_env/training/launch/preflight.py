# SPDX-License-Identifier: Apache-2.0
"""Refuse a run that cannot work before Ray starts, in one paragraph.

`training/launch/driver.py` calls `before_ray` where verl validates its own config.
"""

import os
from contextlib import closing
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from verl.utils.device import get_device_name

from aflow_env.config import AflowConfig, parse, resolve
from aflow_env.errors import ConfigError
from aflow_env.report.loggers import prepare_environment
from aflow_env.screen import one_line
from aflow_env.store.settings import lock
from aflow_env.store.store import Store
from aflow_env.training.hardware.layout_check import check_layout, known_shape
from aflow_env.training.launch.parts_check import check_parts
from aflow_env.training.launch.policy_check import check_policy
from aflow_env.training.launch.train_log import screen
from aflow_env.training.launch.verl_keys import check_keys
from aflow_env.training.nodes.owner import check_shared
from aflow_env.training.rollout.search_problems import check_files
from aflow_env.training.trainer.checkpoints import resume_step
from aflow_env.training.trainer.export import ROLLOUT_TEMPERATURE
from aflow_env.training.trainer.mini_batches import check_mini_batches
from aflow_env.training.trainer.wandb_run import continue_run


def before_ray(config: DictConfig) -> None:
    """Check and prepare a run that has an `aflow:` node; leave any other run alone."""
    if OmegaConf.select(config, "aflow") is None:
        return
    try:
        screen()
        aflow = check(config)
        check_device(config)
        lock_run(aflow, resume_step(config), config.actor_rollout_ref.rollout.temperature)
    except ConfigError as error:
        _stop(error)
    prepare_environment()
    keep_niceness()
    continue_run(config)


def lock_run(aflow: AflowConfig, step: int = 0, temperature: float = 1.0) -> None:
    """Save the config and the rollouts' temperature in the run's store, and take the store back to `step`.

    `aflow-env test RUN` and `export-policy` read them. Raises ConfigError when the store has results of another config.
    """
    with closing(Store(Path(aflow.run_dir) / "run.sqlite")) as store:
        lock(store, aflow)
        store.set_meta(ROLLOUT_TEMPERATURE, str(float(temperature)))
        store.take_back(step)


def _stop(error: ConfigError) -> None:
    """Exit with one paragraph and status 1; in a sweep raise, so that the next job starts."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        raise error
    raise SystemExit(f"aflow_env: {one_line(str(error))}")


def check(config: DictConfig) -> AflowConfig:
    """Return the `aflow:` node. Raises ConfigError for keys, parts, files and policies that would fail later."""
    resolve(config)
    aflow = parse(config.aflow)
    check_keys(config, aflow)
    check_mini_batches(config, aflow)
    check_files(config.data)
    check_layout(config, known_shape(config))
    check_shared(aflow, config.trainer.nnodes)
    check_policy(config, aflow)
    check_parts(aflow)
    return aflow


def check_device(config: DictConfig) -> None:
    """Raise ConfigError where the run needs an accelerator and verl has none: Ray would wait for it for ever.

    `check` leaves this out, so that a machine without one can plan for machines with some.
    """
    wanted = config.trainer.device
    if wanted != "cpu" and get_device_name() == "cpu":
        raise ConfigError(
            f"trainer.device={wanted}, but this machine has no accelerator and the environment is the CPU's. Use "
            "--config-name aflow_gigpo_cpu; or, where the driver of a GPU cluster has none, set AFLOW_DEVICE=gpu"
        )


def keep_niceness() -> None:
    """Let Ray's workers run at the driver's niceness.

    Ray would add 15, and any other busy process would take nearly all of the cores.
    """
    os.environ.setdefault("RAY_worker_niceness", "0")
