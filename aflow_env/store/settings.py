# SPDX-License-Identifier: Apache-2.0
"""A run's config, saved in its store. `resume` reads it, and most of it may not change on the way.

The first config stays in `meta`, and later ones are events. Results of two configs must not mix, so a change is an
error, except for the extent, the speed, the addresses of servers and the display.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from aflow_env.config import AflowConfig, parse
from aflow_env.errors import ConfigError
from aflow_env.files import writing
from aflow_env.store.database import JSON, Reads
from aflow_env.store.store import Store
from aflow_env.tasks.own import own_digest

FREE = frozenset(
    ("run_dir", "shared", "recording", "cache", "rounds", "final_calls", "logger", "stop", "budget", "convergence")
)
"""Keys at the root, with all below them, that a run may change on the way."""
FREE_LEAVES = frozenset(
    (
        *("base_url", "api_key_variable", "api_key_file", "prices", "concurrency", "tokens_per_minute", "workers"),
        *("timeout_seconds", "max_attempts", "retry_seconds", "retry_max_seconds"),
        *("breaker_failures", "breaker_seconds", "batch", "batch_seconds", "batch_poll_seconds"),
    )
)
"""Keys of any node that a run may change on the way."""


def as_plain(config: AflowConfig) -> dict[str, JSON]:
    """Return the config as JSON, in the user's own spelling of the keys."""
    return dict(config.model_dump(mode="json", by_alias=True))


def stored_config(store: Reads) -> AflowConfig | None:
    """Return the config that the run follows, or None where none is saved. Raises ConfigError."""
    text = saved_text(store)
    try:
        return parse(json.loads(text), "") if text else None
    except ValueError as error:
        raise ConfigError(
            f"{store.path}: its config is not one of this version of aflow_env ({error}); read it with the version "
            "that made it, or name another run_dir"
        ) from error


def saved_text(store: Reads) -> str | None:
    """Return the JSON of the config that the run follows, or None where none is saved."""
    rows = store.read("SELECT data FROM events WHERE kind = 'config' ORDER BY id DESC LIMIT 1")
    return rows[0][0] if rows else store.meta("config")


def claim(run_dir: Path) -> FileLock:
    """Return the lock of a run's folder. One process has it at a time, and the system frees it when that process dies.

    Raises ConfigError while another process searches or trains there: the two would pay for the same rounds, and
    remove each other's experience and checkpoints.
    """
    found = FileLock(run_dir / "run.lock")
    with writing(run_dir, "run_dir"):
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            found.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"run_dir={run_dir}: another process searches or trains there; wait for its end, or name another "
                "run_dir (of a training, trainer.default_local_dir)"
            ) from None
    return found


def lock(store: Store, config: AflowConfig) -> None:
    """Save the config of a run, or check it against the saved one. A run without results takes any.

    Raises ConfigError that names each key that differs and may not, or when an own task scores otherwise than before.
    """
    plain = as_plain(config)
    store.set_meta("config", json.dumps(plain, sort_keys=True))
    saved = stored_config(store)
    assert saved is not None
    _lock_own_task(store, config)
    before, now = flat(as_plain(saved)), flat(plain)
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    fixed = [key for key in changed if not may_change(key)]
    if fixed and _begun(store):
        said = "; ".join(f"{key}={_show(now.get(key))}, the run has {_show(before.get(key))}" for key in fixed)
        raise ConfigError(
            f"{store.path.parent} holds a run with another config ({said}): set the run's own value to go on with "
            "it, or name another run_dir to begin a new one"
        )
    if changed:
        store.event("config", plain)


def _lock_own_task(store: Store, config: AflowConfig) -> None:
    """Save or check the files of an own task: its YAML, class and scorer."""
    own = own_digest(config.task)
    rows = store.read("SELECT data FROM events WHERE kind = 'own_task' ORDER BY id DESC LIMIT 1")
    saved = json.loads(rows[0][0]) if rows else ""
    if own == saved:
        return
    if saved and _begun(store):
        raise ConfigError(
            f"{store.path.parent} holds scores of {config.task.name} as it was before its YAML, class or scorer "
            "changed: name another run_dir to begin a new run"
        )
    store.event("own_task", own)


def _begun(store: Store) -> bool:
    """Return whether the run has results of its config."""
    tables = ("sessions", "evaluations", "completions")
    return any(store.read(f"SELECT 1 FROM {table} LIMIT 1") for table in tables)


def may_change(key: str) -> bool:
    """Return whether a dotted key only sets the extent, the speed or a place."""
    parts = key.split(".")
    return parts[0] in FREE or parts[-1] in FREE_LEAVES


def flat(node: Mapping[str, JSON], prefix: str = "") -> dict[str, JSON]:
    """Return dotted keys -> values. A list is one value, and so is an empty node."""
    found: dict[str, JSON] = {}
    for key, value in node.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


def _show(value: JSON) -> str:
    return "null" if value is None else str(value)
