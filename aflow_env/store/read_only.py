# SPDX-License-Identifier: Apache-2.0
"""A run's store for readers only: nothing is made, converted or locked, and a search may write it meanwhile."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from aflow_env.errors import ConfigError
from aflow_env.files import storing
from aflow_env.store.database import APPLICATION_ID, BUSY_SECONDS, VERSION, Row, Value


class Reads(Protocol):
    """A store that answers questions about a run; `path` is its SQLite file."""

    path: Path

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Return all rows of a query; database.py describes the tables."""
        ...

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
        self.path = path
        try:
            self._connection = _connect(path)
            names = ("application_id", "user_version")
            marks = [self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        except sqlite3.Error as error:
            raise ConfigError(f"{path} cannot be read ({error}): name the run_dir of a search") from error
        if marks != [APPLICATION_ID, VERSION]:
            self._connection.close()
            raise ConfigError(f"{path} is not a run's store, or one of another aflow_env: name the run_dir of a search")

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Return all rows of a query. Raises InfrastructureError when the file cannot be read."""
        with storing(self.path):
            return self._connection.execute(sql, arguments).fetchall()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    """Connect read-only; a finished run in a folder that cannot be written has no shared memory, and needs none."""
    address = path.resolve().as_uri()
    connection = sqlite3.connect(f"{address}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        connection = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True)
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    return connection
