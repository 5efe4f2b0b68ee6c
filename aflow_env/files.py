# SPDX-License-Identifier: Apache-2.0
"""Files that a user names: written whole or not at all, and every refusal said in a sentence that names the place."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from aflow_env.errors import ConfigError, InfrastructureError

_WORLD = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE))
"""Errors that another place would not mend."""


@contextmanager
def writing(path: Path, key: str = "") -> Iterator[None]:
    """Explain an OSError of this block, which writes `path`, the value of a config's key or an option.

    Raises InfrastructureError when the machine has no room, ConfigError when the place is wrong.
    """
    try:
        yield
    except OSError as error:
        raise refusal(error, f"{key}{'=' * bool(key)}{path} cannot be written") from error


def refusal(error: OSError, said: str) -> ConfigError | InfrastructureError:
    """Return the error that ends `said` with the system's reason: the user's, or the world's where it has no room."""
    if error.errno in _WORLD:
        return InfrastructureError(f"{said}: {error.strerror}; check the disk's space, or name another place")
    return ConfigError(f"{said}: {error.strerror or error}; name another place")


@contextmanager
def storing(path: Path | None) -> Iterator[None]:
    """Explain an error of SQLite in this block, which uses the file. Raises InfrastructureError."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise InfrastructureError(
            f"{path or 'memory'} cannot be used ({error}): make room on its disk, and check that the file is whole"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all, over an earlier one; make its folder. Raises as `writing` does."""
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                temporary.unlink()
                raise
        temporary.chmod(0o644)
        temporary.replace(path)
