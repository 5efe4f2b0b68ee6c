# SPDX-License-Identifier: Apache-2.0
"""seccomp: the filter through which every system call of a jailed child goes, as a small BPF program.

Calls of syscalls.ALLOWED pass, those of GUARDED pass when their arguments do, those of ABSENT get ENOSYS and all others
EPERM, which Python raises as PermissionError. A call in the manner of another architecture (32-bit entry on a 64-bit
kernel) ends the process with SIGSYS. Standard library ctypes; no privilege needed, only no_new_privs.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable

from aflow_env.sandbox.kernel.syscalls import ABSENT, ALLOWED, GUARDED, Numbers

MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}
"""Machine name -> (column of the tables, audit architecture)."""

_LOAD, _EQUAL, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_DENY, _NO_CALL = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_CALL, _ARCHITECTURE = 0, 4

_O_ACCMODE, _O_TRUNC = 0o3, 0o1000
_CLONE_THREAD = 0x10000
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF
_FCNTL = (0, 1, 2, 3, 4, 5, 6, 7, 1030)  # duplicate, flags, locks; not F_SETOWN, F_SETSIG, F_NOTIFY, F_SETLEASE, seals
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, close-on-exec
_PRCTL = (15, 16)  # the name of a thread

Code = list[bytes]


def program(pid: int, machine: str) -> bytes:
    """The filter for a process that is going to have the number `pid`; KeyError for an unknown machine."""
    column, architecture = MACHINES[machine]
    code = [
        _load(_ARCHITECTURE),
        _jump(_EQUAL, architecture, 1, 0),
        _give(_KILL),
        _load(_CALL),
    ]
    for number in _numbers(ALLOWED.values(), column):
        code += [_jump(_EQUAL, number, 0, 1), _give(_ALLOW)]
    for number in _numbers(ABSENT.values(), column):
        code += [_jump(_EQUAL, number, 0, 1), _give(_NO_CALL)]
    guards = _guards(pid)
    for name, numbers in GUARDED.items():
        for number in _numbers([numbers], column):
            body = guards[name]
            code += [_jump(_EQUAL, number, 0, len(body)), *body]
    return b"".join([*code, _give(_DENY)])


def install(filter_: bytes) -> None:
    """Put this thread, and all that it starts, behind the filter for ever; OSError when the kernel refuses."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    buffer = ctypes.create_string_buffer(filter_, len(filter_))
    libc = ctypes.CDLL(None, use_errno=True)
    argument = Program(len(filter_) // 8, ctypes.addressof(buffer))
    if libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(argument), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp: {os.strerror(error)}")


def available() -> bool:
    """Whether this kernel filters system calls and the tables know this machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    return platform.machine() in MACHINES and int(libc.prctl(21, 0, 0, 0, 0)) >= 0


def _guards(pid: int) -> dict[str, Code]:
    """For each guarded call the code that ends with its verdict."""
    return {
        # O_RDONLY | O_TRUNC empties a file that may only be read, where Landlock is older than version 3.
        "open": _open(1),
        "openat": _open(2),
        "fcntl": _one_of(1, _FCNTL),
        "ioctl": _one_of(1, _IOCTL),
        "prctl": _one_of(0, _PRCTL),
        "kill": _one_of(0, (pid,)),
        "tgkill": _one_of(0, (pid,)),
        # Reading one's own limits, and nobody's to set.
        "prlimit64": [*_all_zero(_low(0)), *_all_zero(_low(2), _high(2)), _give(_ALLOW)],
        "clone": [_load(_low(0)), _jump(_ANY_BIT, _CLONE_THREAD, 0, 1), _give(_ALLOW), _give(_DENY)],
        # A pair without a name, connected to itself: what an event loop wakes itself with.
        "socketpair": [
            _load(_low(0)),
            _jump(_EQUAL, _AF_UNIX, 1, 0),
            _give(_DENY),
            _load(_low(1)),
            _and(_SOCK_TYPE),
            _jump(_EQUAL, _SOCK_STREAM, 1, 0),
            _give(_DENY),
            _give(_ALLOW),
        ],
        # To the other end of the pair; an address would be somebody else.
        "sendto": [*_all_zero(_low(4), _high(4)), _give(_ALLOW)],
    }


def _open(argument: int) -> Code:
    return [
        _load(_low(argument)),
        _and(_O_TRUNC | _O_ACCMODE),
        _jump(_EQUAL, _O_TRUNC, 0, 1),
        _give(_DENY),
        _give(_ALLOW),
    ]


def _one_of(argument: int, values: tuple[int, ...]) -> Code:
    code = [_load(_low(argument))]
    for value in values:
        code += [_jump(_EQUAL, value, 0, 1), _give(_ALLOW)]
    return [*code, _give(_DENY)]


def _all_zero(*offsets: int) -> Code:
    code: Code = []
    for offset in offsets:
        code += [_load(offset), _jump(_EQUAL, 0, 1, 0), _give(_DENY)]
    return code


def _numbers(rows: Iterable[Numbers], column: int) -> list[int]:
    return [number for row in rows if (number := row[column]) is not None]


def _low(argument: int) -> int:
    return 16 + 8 * argument  # both machines are little-endian


def _high(argument: int) -> int:
    return 20 + 8 * argument


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", _LOAD, 0, 0, offset)


def _and(mask: int) -> bytes:
    return struct.pack("<HBBI", _AND, 0, 0, mask)


def _jump(test: int, value: int, true: int, false: int) -> bytes:
    return struct.pack("<HBBI", test, true, false, value)


def _give(verdict: int) -> bytes:
    return struct.pack("<HBBI", _RETURN, 0, 0, verdict)
