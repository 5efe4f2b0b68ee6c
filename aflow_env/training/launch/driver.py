# SPDX-License-Identifier: Apache-2.0
"""What the driver of a run needs from us before Ray starts: our YAML on Hydra's path, our resolver, our checks.

These hooks run in every process that imports verl, so they import late.
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any


def register_search_path(plugins_module: ModuleType) -> None:
    """Hydra finds `--config-name aflow_gigpo` from anywhere; a `--config-dir` of the user comes before ours."""
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    from aflow_env.config import config_directory

    class AflowSearchPath(SearchPathPlugin):
        def manipulate_search_path(self, search_path: Any) -> None:
            search_path.append(provider="aflow_env", path=f"file://{config_directory()}")

    plugins_module.Plugins.instance().register(AflowSearchPath)


def register_resolver(omegaconf: ModuleType) -> None:
    """`${aflow_tiny_policy:}` is the folder of the tiny policy, built now if it is missing."""

    def tiny_policy() -> str:
        from aflow_env.training.tiny_policy.build import cached_policy

        return str(cached_policy())

    omegaconf.OmegaConf.register_new_resolver("aflow_tiny_policy", tiny_policy, use_cache=True, replace=True)


def register_checks(config_module: ModuleType) -> None:
    """Stand around `verl.utils.config.validate_config`, which `main_ppo` calls in the driver before Ray starts.

    A plain function under verl's own name: launchers that pickle the entry point (submitit) can then find it again.
    """
    verls: Callable[..., None] = config_module.validate_config

    @functools.wraps(verls)
    def checked(*arguments: Any, **keywords: Any) -> None:
        from aflow_env.training.launch.preflight import before_ray

        before_ray(keywords["config"] if "config" in keywords else arguments[0])
        verls(*arguments, **keywords)

    config_module.validate_config = checked  # type: ignore[attr-defined]
