# SPDX-License-Identifier: Apache-2.0
"""Landlock: limit the files that a process may open and the processes that it may connect to or signal.

A process does so by itself and needs no privilege. It gives up every right that the kernel's version of Landlock knows
and gets it back for the named paths alone. Version 1 (Linux 5.13) governs files, 3 truncation, 4 TCP, 5 device ioctl, 6
signals and abstract sockets. No version governs stat, chmod, chown, utime, xattr and names of files (seccomp.py refuses
the writing ones).
"""

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on every architecture
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG = 1 << 7, 1 << 8
REFER, TRUNCATE = 1 << 13, 1 << 14
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE

HOME = READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
"""Rights in the private directory: plain files and directories, and no link, device, socket or program."""

_RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many file rights a version knows. Later ones know as many as 5."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32)]


def version() -> int:
    """Return the kernel's version of Landlock, or 0 where it has none or it is switched off."""
    return max(int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))), 0)


class Ruleset:
    """A set of rules, made by an unconfined process and enforced by a process that inherits its descriptor."""

    def __init__(self) -> None:
        self.version = version()
        while self.version:
            self.handled = (1 << _RIGHTS_OF_VERSION[min(self.version, 5)]) - 1
            attributes = _Attributes(self.handled, 3 if self.version >= 4 else 0, 3 if self.version >= 6 else 0)
            size = 24 if self.version >= 6 else 16 if self.version >= 4 else 8
            self.fd = int(_libc.syscall(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)))
            if self.fd >= 0:
                os.set_inheritable(self.fd, False)
                return
            self.version -= 1  # distributions exist that announce a version and lack a part of it
        raise OSError(ctypes.get_errno(), "Landlock is not available")

    def allow(self, path: str | Path, rights: int) -> None:
        """Give `rights` back for `path` and all beneath it. Raises OSError when it cannot be opened."""
        fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not Path(path).is_dir():
                rights &= _FILE_RIGHTS  # the kernel refuses a directory's rights on a file
            rule = _PathRule(rights & self.handled, fd)
            _check(_libc.syscall(_ADD, self.fd, _PATH_BENEATH, ctypes.byref(rule), ctypes.c_uint32(0)), "add a rule")
        finally:
            os.close(fd)

    def restrict(self) -> None:
        """Enforce the rules on this thread and its descendants for ever. `no_new_privs` has to be set."""
        _check(_libc.syscall(_RESTRICT, self.fd, ctypes.c_uint32(0)), "restrict")


def allow_interpreter(rules: Ruleset, library: Iterable[str]) -> None:
    """Allow reading the directories in `library`, without the installed packages, and all files that are mapped here.

    Call it when everything with a shared library is imported.
    """
    for directory in map(Path, library):
        with suppress(FileNotFoundError):
            rules.allow(directory, READ_DIR)
        for entry in directory.iterdir() if directory.is_dir() else ():
            if not entry.is_symlink() and entry.name not in ("site-packages", "dist-packages"):
                rules.allow(entry, READ_FILE | READ_DIR)
    maps = Path("/proc/self/maps").read_text().splitlines()
    for path in {line.split(None, 5)[5].strip() for line in maps if "/" in line}:
        with suppress(OSError):  # "(deleted)", or replaced since
            rules.allow(path, READ_FILE)


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: cannot {what}: {os.strerror(error)}")
