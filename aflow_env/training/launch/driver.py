# SPDX-License-Identifier: Apache-2.0
"""Prepare the driver of a run before Ray starts: our YAML on Hydra's path, resolvers, checks, the log.

These hooks run in every process that imports verl, so they import late.
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any


def register_search_path(plugins_module: ModuleType) -> None:
    """Let Hydra find `--config-name aflow_gigpo` from anywhere; a `--config-dir` of the user comes before ours."""
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    from aflow_env.config import config_directory

    class AflowSearchPath(SearchPathPlugin):
        def manipulate_search_path(self, search_path: Any) -> None:
            search_path.append(provider="aflow_env", path=f"file://{config_directory()}")

    plugins_module.Plugins.instance().register(AflowSearchPath)


def register_resolvers(omegaconf: ModuleType) -> None:
    """Add `${aflow_tiny_policy:TASK}`, the folder of a task's tiny policy, which is built where it is missing.

    A task that is not in conf/aflow/task has the policy of the embedded one. Add `${aflow_cpu_dtype:}`, the dtype that
    this machine's processor multiplies fast.
    """

    def tiny_policy(task: str) -> str:
        from aflow_env.config import config_directory
        from aflow_env.training.tiny_policy.build import EMBEDDED, cached_policy

        known = (config_directory() / "aflow" / "task" / f"{task}.yaml").is_file()
        return str(cached_policy(task=task if known else EMBEDDED))

    def cpu_dtype() -> str:
        from aflow_env.training.hardware import processor

        return processor.dtype(processor.flags())

    for name, resolver in (("aflow_tiny_policy", tiny_policy), ("aflow_cpu_dtype", cpu_dtype)):
        omegaconf.OmegaConf.register_new_resolver(name, resolver, use_cache=True, replace=True)


def register_end(hydra_utils: ModuleType) -> None:
    """Stand around Hydra's `run_and_report`, below which a driver does all its work, and note the error that ends it.

    Nothing tells a process at its exit with which status it exits.
    """
    hydras: Callable[..., Any] = hydra_utils.run_and_report

    @functools.wraps(hydras)
    def noted(work: Callable[[], Any]) -> Any:
        try:
            return hydras(work)
        except BaseException as error:
            from aflow_env.training.launch import train_log

            train_log.ended_by(error)
            raise

    hydra_utils.run_and_report = noted  # type: ignore[attr-defined]


def register_checks(config_module: ModuleType) -> None:
    """Wrap `verl.utils.config.validate_config`, which `main_ppo` calls in the driver before Ray starts.

    The wrapper has verl's own name, so launchers that pickle the entry point (submitit) find it again.
    """
    verls: Callable[..., None] = config_module.validate_config

    @functools.wraps(verls)
    def checked(*arguments: Any, **keywords: Any) -> None:
        from aflow_env.training.launch import train_log
        from aflow_env.training.launch.preflight import before_ray

        config = keywords["config"] if "config" in keywords else arguments[0]
        before_ray(config)
        verls(*arguments, **keywords)
        train_log.begin(config)

    config_module.validate_config = checked  # type: ignore[attr-defined]
