# SPDX-License-Identifier: Apache-2.0
"""Files that a user names, and SQLite files that processes share. Each error is one sentence that names the file."""

import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile, mkdtemp
from typing import Any

from aflow_env.errors import ConfigError, InfrastructureError

WORLD = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE))
"""Errors of the machine, for which the path is not at fault."""


@contextmanager
def writing(path: Path, key: str = "") -> Iterator[None]:
    """Explain an OSError of this block, which writes `path`, the value of the config's `key`.

    Raises InfrastructureError when the disk is full or fails, ConfigError when the path is wrong.
    """
    try:
        yield
    except OSError as error:
        raise refusal(error, f"{key}{'=' * bool(key)}{path} cannot be written") from error


def refusal(error: OSError, said: str) -> ConfigError | InfrastructureError:
    """Return the ConfigError or InfrastructureError with the text `said` and the system's reason."""
    if error.errno in WORLD:
        return InfrastructureError(f"{said}: {error.strerror}; check the disk's space, or name another place")
    return ConfigError(f"{said}: {error.strerror or error}; name another place")


@contextmanager
def storing(path: Path | None) -> Iterator[None]:
    """Raise InfrastructureError for an error of SQLite in this block, which uses the file."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise InfrastructureError(
            f"{path or 'memory'} cannot be used ({error}): make room on its disk, and check that the file is whole"
        ) from error


BUSY_SECONDS = 60.0
Value = str | int | float | bytes | None
Row = tuple[Any, ...]


class SharedFile(sqlite3.Connection):
    """A SQLite file (None: in memory) that threads and processes of one machine share.

    `query` is SQLite's, such as "?mode=ro". `read` and `write` raise InfrastructureError when the file cannot be used.
    """

    def __init__(self, path: Path | None, query: str = "") -> None:
        address = f"{path.resolve().as_uri()}{query}" if path else ":memory:"
        super().__init__(address, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)
        self._path = path
        self._lock = threading.RLock()

    def to_wal(self) -> None:
        """Switch to the WAL journal. SQLite's busy timeout does not cover this, so it is tried until BUSY_SECONDS."""
        deadline = time.monotonic() + BUSY_SECONDS
        while self.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
            try:
                self.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        self.execute("PRAGMA synchronous = NORMAL")

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Return all rows of a query."""
        with self._lock, storing(self._path):
            return self.execute(sql, arguments).fetchall()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Make the block one transaction."""
        with self._lock, storing(self._path):
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                if self.in_transaction:  # a full disk has ended it already
                    self.execute("ROLLBACK")
                raise


def open_shared(path: Path | None, *schema: str, wal: bool = False) -> SharedFile:
    """Open a SQLite file with the tables of `schema`, and make its folder. Raises as `writing` and `storing` do."""
    if path is not None:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
    with storing(path):
        database = SharedFile(path)
        if wal:
            database.to_wal()
        with database.write():
            for statement in schema:
                database.execute(statement)
        return database


class FileOwner:
    """The owner of a SQLite file. `opener` opens it, or makes it, at its first use."""

    def __init__(self, opener: Callable[[], SharedFile]) -> None:
        self._opener = opener

    @cached_property
    def _database(self) -> SharedFile:
        return self._opener()

    def open(self) -> None:
        """Open or make the file unless it is open."""
        _ = self._database

    def close(self) -> None:
        """Close the file if it is open."""
        if "_database" in vars(self):
            self._database.close()


def write_text(path: Path, text: str) -> None:
    """Write or replace a file atomically, and make its folder. A link, a pipe and a device stay what they are.

    Raises as `writing` does.
    """
    encoded = text.encode("utf-8", "backslashreplace")
    with writing(path):
        if path.exists() and not path.is_file():
            path.write_bytes(encoded)
            return
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
                temporary.chmod(0o644)
                temporary.replace(path)
            except BaseException:
                temporary.unlink()
                raise


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder that becomes `out` at the end of the block; an error removes it and leaves `out` alone.

    Raises OSError when `out` has content then.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    half_done = Path(mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield half_done
        half_done.chmod(0o755)
        if out.exists():
            out.rmdir()
        half_done.rename(out)
    finally:
        shutil.rmtree(half_done, ignore_errors=True)
