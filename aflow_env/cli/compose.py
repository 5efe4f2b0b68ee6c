# SPDX-License-Identifier: Apache-2.0
"""From the command line's `key=value` to the typed config, by Hydra's own grammar."""

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from aflow_env.config import AflowConfig, config_directory, parse
from aflow_env.errors import ConfigError
from aflow_env.store.settings import as_plain

GROUPS = ("task", "executor", "implementer")
"""Keys whose value may name a file of conf/aflow/KEY."""


def load(overrides: Sequence[str], defaults: Sequence[str] = ()) -> AflowConfig:
    """conf/aflow/default.yaml with a verb's own `defaults`, then the user's overrides. Raises ConfigError."""
    return parse(composed([*defaults, *overrides]), "")


def composed(overrides: Sequence[str]) -> DictConfig:
    """conf/aflow/default.yaml with these overrides, not checked yet. Raises ConfigError for a key that is not there."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_directory() / "aflow"), version_base=None):
            return compose("default", overrides=list(overrides))
    except HydraException as error:
        raise ConfigError(_explain(overrides, error)) from error


def change(config: AflowConfig, overrides: Sequence[str]) -> AflowConfig:
    """A config with some keys changed, whole groups such as executor=openai first. Raises ConfigError."""
    node, changed = OmegaConf.create(as_plain(config)), values(overrides)
    for group in GROUPS:
        if isinstance(name := changed.get(group), str):
            node[group] = composed([f"{group}={name}"])[group]
            del changed[group]
    for key, value in changed.items():
        OmegaConf.update(node, key, value, merge=True, force_add=True)
    return parse(node, "")


def values(overrides: Sequence[str]) -> dict[str, Any]:
    """Key -> value of each override. Raises ConfigError for what is none."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(_explain(overrides, error)) from error
    return {override.key_or_group: override.value() for override in parsed}


def _explain(overrides: Sequence[str], error: HydraException) -> str:
    """Hydra's complaint as one sentence that names our way to see which keys exist."""
    said = " ".join(str(error).split()).partition(" Config search path:")[0]
    if "Could not override" in said or "not in struct" in said:
        key = said.split("'")[1] if said.count("'") > 1 else " ".join(overrides)
        return f"{key}: there is no such key; conf/aflow/default.yaml documents those that exist"
    return f"{' '.join(overrides)}: {said}"
