# SPDX-License-Identifier: Apache-2.0
"""Names of a sweep's jobs: each has the values that differ, always spelled the same. Pure."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser

NAME_CHARACTERS = 120
"""A longer name is cut and ends in a hash of the whole, so that it fits a file system."""


def identity(overrides: Iterable[str]) -> dict[str, str]:
    """Return key -> value of a job's overrides. A key includes the marks of `~key` and `+key=value`."""
    return {key: value for key, _, value in (override.partition("=") for override in overrides)}


def swept(job: Mapping[str, str], given: Sequence[str]) -> dict[str, str]:
    """Return the job's values that a sweeper chose: the command did not fix them."""
    parsed = [each for each in OverridesParser.create().parse_overrides(list(given)) if not each.is_sweep_override()]
    fixed = {each.get_key_element(): each.get_value_element_as_str() for each in parsed}
    return {key: value for key, value in job.items() if fixed.get(key) != value}


def sweeps(given: Sequence[str]) -> list[str]:
    """Return the overrides with several values, unparsed."""
    parsed = OverridesParser.create().parse_overrides(list(given))
    return [str(override.input_line) for override in parsed if override.is_sweep_override()]


def suffix(chosen: Mapping[str, str]) -> str:
    """Return `-key=value` for each, by the last part of the key where that is clear, safe for a folder's name."""
    leaves = [_leaf(key) for key in chosen]
    named = {
        key: _leaf(key) if leaves.count(_leaf(key)) == 1 else key.lstrip("+").replace("/", ".")
        for key in sorted(chosen)
    }
    return "".join(f"-{_safe(name)}={_safe(chosen[key])}" for key, name in named.items())


def shorten(name: str) -> str:
    """Return the name, or its beginning and a hash."""
    if len(name) <= NAME_CHARACTERS:
        return name
    return f"{name[: NAME_CHARACTERS - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _leaf(key: str) -> str:
    return re.split(r"[./]", key.lstrip("+"))[-1]


def _safe(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text).strip("_") or "_"
