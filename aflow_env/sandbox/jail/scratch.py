# SPDX-License-Identifier: Apache-2.0
"""The directories that hostile code may fill: made private, measured while in use, removed in any state.

Each zygote locks its directory while it lives. The next zygote to start removes directories that nobody has locked.
Standard library only.
"""

import contextlib
import fcntl
import os
import secrets
import tempfile
from pathlib import Path

PREFIX = "aflow-jail-"
MAX_ENTRIES = 10_000


def make(parent: str) -> tuple[Path, int]:
    """Make a directory under `parent`. Also returns the descriptor that locks it while it is open."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with contextlib.suppress(OSError):  # another zygote has just removed the directory
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.stat().st_ino == os.fstat(lock).st_ino:
                    return path, lock
            os.close(lock)


def sweep(parent: str) -> None:
    """Remove this user's directories under `parent` that nobody has locked."""
    for path in Path(parent).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
            finally:
                os.close(lock)


def usage(root: Path) -> int | None:
    """Return the bytes on disk beneath `root`, or None for more than MAX_ENTRIES files, or paths that are too long."""
    total, entries, open_directories = 0, 0, [str(root)]
    while open_directories:
        try:
            with os.scandir(open_directories.pop()) as found:
                for entry in found:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        open_directories.append(entry.path)
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue  # removed meanwhile
        except OSError:
            return None
        if entries > MAX_ENTRIES:
            return None
    return total


def empty(root: Path) -> None:
    """Remove everything in `root`, of any depth and any mode, without following links. No process may write there.

    It first moves a directory's subdirectories up into `root`, so that no path gets longer than three names.
    """
    os.chmod(root, 0o700)
    while entries := list(os.scandir(root)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, 0o700)
                    os.rename(inner.path, root / secrets.token_hex(16))
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)


def remove(root: Path) -> None:
    """Remove `root` and everything in it. Does nothing when it is gone."""
    with contextlib.suppress(FileNotFoundError):
        empty(root)
        root.rmdir()
