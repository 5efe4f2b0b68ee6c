# SPDX-License-Identifier: Apache-2.0
"""Read a run's store: nothing is made, converted or locked, and a search may write it meanwhile."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from aflow_env.errors import ConfigError
from aflow_env.files import FileOwner, Row, SharedFile, Value
from aflow_env.store.database import APPLICATION_ID, VERSION


class Reads(FileOwner):
    """A store that answers questions about a run. `path` is its SQLite file, which `opener` opens at its first use."""

    def __init__(self, path: Path, opener: Callable[[Path], SharedFile]) -> None:
        super().__init__(partial(opener, path))
        self.path = path

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Return all rows of a query. Raises InfrastructureError when the file cannot be read."""
        return self._database.read(sql, arguments)

    def meta(self, name: str) -> str | None:
        """Return a property of the run, or None."""
        rows = self.read("SELECT value FROM meta WHERE key = ?", (name,))
        return rows[0][0] if rows else None


def store_file(key: str, run: str, which: str) -> Path:
    """Return the store of the run that a key names, by folder or file. Raises ConfigError where there is none."""
    path = Path(run)
    file = path if path.is_file() else path / "run.sqlite"
    if not file.is_file():
        raise ConfigError(f"{key}={run}: there is no run.sqlite; name the run_dir of {which} run")
    return file


class ReadOnlyStore(Reads):
    """A file that exists. Raises ConfigError for one that is not a run's store."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _readable)
        self.open()


def _readable(path: Path) -> SharedFile:
    try:
        try:
            database = _opened(path, "?mode=ro")
        except sqlite3.OperationalError:  # a folder that cannot be written has no shared memory, and needs none
            database = _opened(path, "?mode=ro&immutable=1")
        names = ("application_id", "user_version")
        marks = [database.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be read ({error}): name the run_dir of a search") from error
    if marks != [APPLICATION_ID, VERSION]:
        database.close()
        raise ConfigError(f"{path} is not a run's store, or one of another aflow_env: name the run_dir of a search")
    return database


def _opened(path: Path, query: str) -> SharedFile:
    database = SharedFile(path, query)
    try:
        database.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database
