# SPDX-License-Identifier: Apache-2.0
"""From composed YAML to the typed config, or to one paragraph that names each mistake."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from aflow_env.config.root import AflowConfig
from aflow_env.errors import ConfigError

_SHOWN = 100  # characters of a wrong value


def parse(node: DictConfig | dict[str, Any], where: str = "aflow") -> AflowConfig:
    """Turn a composed `aflow:` node into the typed config.

    Raises ConfigError in one paragraph that names each wrong key (as the user types it), its value and the fix.
    """
    try:
        return AflowConfig.model_validate(plain(node) if isinstance(node, DictConfig) else node)
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from None


def plain(node: DictConfig) -> Any:
    """Return the node with its interpolations replaced by values. Raises ConfigError where one has none."""
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(_unresolved(error)) from error


def resolve(config: DictConfig) -> None:
    """Replace the config's interpolations by values, in place.

    Raises ConfigError where one has none, and ModuleNotFoundError where a resolver lacks a library.
    """
    try:
        OmegaConf.resolve(config)
    except (OmegaConfBaseException, RecursionError) as error:
        if isinstance(error.__context__, ModuleNotFoundError):
            raise error.__context__ from error
        raise ConfigError(_unresolved(error)) from error


def _unresolved(error: Exception) -> str:
    """Say in one sentence which key names something that is not there."""
    if not isinstance(error, OmegaConfBaseException):
        return "an interpolation ${...} of the config refers to itself: give a value"
    return f"{error.full_key or 'the config'} does not resolve: {str(error).splitlines()[0]}; set it, or give a value"


def explain(error: ValidationError, where: str) -> str:
    """Return one sentence per wrong key, in the user's own spelling of it."""
    sentences = []
    for item in error.errors():
        key = ".".join([where, *map(str, item["loc"])]).strip(".")
        given = repr(item["input"])
        said = f"{key}{'=' * bool(key)}{given if len(given) <= _SHOWN else f'{given[:_SHOWN]}...'}"
        if item["type"] == "extra_forbidden":
            sentences.append(f"{said}: there is no such key; remove it or see conf/ for the keys that exist")
        elif item["type"] == "missing":
            sentences.append(f"{key} is missing: set it")
        elif item["type"] == "value_error":
            sentences.append(f"{key}: {item['ctx']['error']}" if key else str(item["ctx"]["error"]))
        elif item["type"] == "string_type" and isinstance(item["input"], int | float):
            sentences.append(f"{said}: a number, where a text belongs; quote it for Hydra: \"{key}='...'\"")
        else:
            sentences.append(f"{said}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return ". ".join(sentences) + "."


def config_directory() -> Path:
    """Return the folder of YAML files: inside the installed package, or conf/ of the checkout.

    Raises ConfigError when neither exists.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "aflow_gigpo.yaml").is_file():
            return candidate
    raise ConfigError(f"aflow_env's YAML files are missing beside {package}: reinstall the package")
