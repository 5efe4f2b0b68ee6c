# SPDX-License-Identifier: Apache-2.0
"""From the command line's `key=value` to the typed config, by Hydra's own grammar."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from aflow_env.config import AflowConfig, config_directory, parse
from aflow_env.errors import ConfigError


def load(overrides: Sequence[str], defaults: Sequence[str] = ()) -> AflowConfig:
    """conf/aflow/default.yaml with a verb's own `defaults`, then the user's overrides. Raises ConfigError."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_directory() / "aflow"), version_base=None):
            return parse(compose("default", overrides=[*defaults, *overrides]), "")
    except HydraException as error:
        raise ConfigError(f"{' '.join(overrides)}: {' '.join(str(error).split())}") from error
