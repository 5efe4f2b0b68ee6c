# SPDX-License-Identifier: Apache-2.0
"""Parse the command line's `key=value` into the typed config, by Hydra's own grammar."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aflow_env.config import AflowConfig, config_directory, parse
from aflow_env.errors import ConfigError
from aflow_env.store.settings import as_plain

GROUPS = ("task", "executor", "implementer")
"""Keys whose value may name a file of conf/aflow/KEY."""


def load(overrides: Sequence[str], defaults: Sequence[str] = ()) -> AflowConfig:
    """Return conf/aflow/default.yaml with a verb's `defaults`, then the user's overrides. Raises ConfigError."""
    return parse(composed([*defaults, *overrides]), "")


def composed(overrides: Sequence[str]) -> DictConfig:
    """Return conf/aflow/default.yaml with these overrides, unchecked. Raises ConfigError for an unknown key.

    `table=NAME` is short for `task=NAME executor=table task.table=NAME`; given groups stay as they are.
    """
    overrides = with_table(overrides)
    with composing(overrides), initialize_config_dir(str(config_directory() / "aflow"), version_base=None):
        return compose("default", overrides=list(overrides))


def with_table(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with `table=NAME` written out."""
    given = values(overrides)
    if (name := given.get("table")) is None:
        return list(overrides)
    groups = [f"{key}={value}" for key, value in (("task", name), ("executor", "table")) if key not in given]
    rest = [text for text, each in zip(overrides, parsed(overrides), strict=True) if each.key_or_group != "table"]
    return [*groups, *rest, assigned("task.table", name)]


def change(config: AflowConfig, overrides: Sequence[str]) -> AflowConfig:
    """Return a config with some keys changed, whole groups such as executor=openai first. Raises ConfigError."""
    node, changed = OmegaConf.create(as_plain(config)), values(overrides)
    for group in GROUPS:
        if isinstance(name := changed.get(group), str):
            node[group] = composed([f"{group}={name}"])[group]
            del changed[group]
    for key, value in changed.items():
        OmegaConf.update(node, key, value, merge=True, force_add=True)
    return parse(node, "")


def values(overrides: Sequence[str]) -> dict[str, Any]:
    """Return key -> value of each override. Raises ConfigError for a wrong one, and for several values."""
    found = parsed(overrides)
    for each in found:
        if each.is_sweep_override():
            raise ConfigError(
                f"{each.input_line}: only `aflow-env sweep` takes several values; give one, or key=[a,b] for a list"
            )
    return {each.key_or_group: each.value() for each in found}


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Read overrides by Hydra's grammar. Raises ConfigError that names the first wrong one."""
    return [_parsed(override) for override in overrides]


def assigned(key: str, text: object) -> str:
    """Return the override that sets the key to this text, whatever characters it has."""
    return f"{key}={QuotedString(text=str(text), quote=Quote.single).with_quotes()}"


@contextmanager
def composing(overrides: Sequence[str]) -> Iterator[None]:
    """Raise Hydra's complaints about these overrides as a ConfigError of one sentence."""
    parsed(overrides)
    GlobalHydra.instance().clear()
    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(_explain(overrides, error)) from error


def _parsed(text: str) -> Override:
    key, equals, value = text.partition("=")
    try:
        [override] = OverridesParser.create().parse_overrides([text])
    except (HydraException, ValueError) as error:
        if not equals:
            raise ConfigError(f"{text}: write it as key=value") from error
        raise ConfigError(
            f'{text}: Hydra cannot read this value; quote it, "{assigned(key, value)}", or close the brackets of a list'
        ) from error
    if not override.key_or_group:
        raise ConfigError(f"{text}: there is no key before the =; write it as key=value")
    return override


def _explain(overrides: Sequence[str], error: Exception) -> str:
    """Return Hydra's complaint as one sentence that names the documentation of the keys."""
    said = " ".join(str(error).split()).partition(" Config search path:")[0]
    if "Could not override" in said or "not in struct" in said:
        key = said.split("'")[1] if said.count("'") > 1 else " ".join(overrides)
        return f"{key}: there is no such key; conf/aflow/default.yaml documents those that exist"
    return f"{' '.join(overrides)}: {said}"
