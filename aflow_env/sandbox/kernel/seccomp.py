# SPDX-License-Identifier: Apache-2.0
"""seccomp: filter every system call of a jailed child by a small BPF program.

Calls of syscalls.ALLOWED pass. Calls of GUARDED pass when their arguments do. Calls of ABSENT get ENOSYS. Others get
EPERM, which Python raises as PermissionError. A call by the entry of another architecture (32-bit on a 64-bit kernel)
ends the process with SIGSYS. The filter needs no_new_privs and no other privilege.
"""

import ctypes
import errno
import os
import platform
import struct

from aflow_env.sandbox.kernel.syscalls import ABSENT, ALLOWED, GUARDED

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
    """Return the filter for the process that will have the number `pid`. Raises KeyError for an unknown machine."""
    column, architecture = MACHINES[machine]
    bodies = {name: [_give(_ALLOW)] for name in ALLOWED} | {name: [_give(_NO_CALL)] for name in ABSENT} | _guards(pid)
    code = [_load(_ARCHITECTURE), _jump(_EQUAL, architecture, 1, 0), _give(_KILL), _load(_CALL)]
    for name, numbers in (ALLOWED | ABSENT | GUARDED).items():
        if (number := numbers[column]) is not None:
            code += [_jump(_EQUAL, number, 0, len(bodies[name])), *bodies[name]]
    return b"".join([*code, _give(_DENY)])


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


def install(code: bytes) -> None:
    """Filter the calls of this thread and of all that it starts, for ever. Raises OSError when the kernel refuses."""
    buffer = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    argument = _Filter(len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(argument), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp: {os.strerror(error)}")


def available() -> bool:
    """Return whether this kernel filters system calls and the tables have this machine."""
    libc = ctypes.CDLL(None, use_errno=True)
    return platform.machine() in MACHINES and int(libc.prctl(21, 0, 0, 0, 0)) >= 0


def _guards(pid: int) -> dict[str, Code]:
    """Return the code of each guarded call, which ends with a verdict."""
    return {
        # O_RDONLY | O_TRUNC empties a file that may only be read, where Landlock is older than version 3.
        **{
            name: [
                *(_load(_low(argument)), _and(_O_TRUNC | _O_ACCMODE), _jump(_EQUAL, _O_TRUNC, 0, 1)),
                *(_give(_DENY), _give(_ALLOW)),
            ]
            for name, argument in (("open", 1), ("openat", 2))
        },
        "fcntl": _one_of(1, _FCNTL),
        "ioctl": _one_of(1, _IOCTL),
        "prctl": _one_of(0, _PRCTL),
        "kill": _one_of(0, (pid,)),
        "tgkill": _one_of(0, (pid,)),
        # A process may read its own limits and set none.
        "prlimit64": [*_all_zero(_low(0), _low(2), _high(2)), _give(_ALLOW)],
        "clone": [_load(_low(0)), _jump(_ANY_BIT, _CLONE_THREAD, 0, 1), _give(_ALLOW), _give(_DENY)],
        # An event loop wakes itself by a pair of sockets that have no name.
        "socketpair": [
            *(_load(_low(0)), _jump(_EQUAL, _AF_UNIX, 1, 0), _give(_DENY)),
            *(_load(_low(1)), _and(_SOCK_TYPE), _jump(_EQUAL, _SOCK_STREAM, 1, 0), _give(_DENY)),
            _give(_ALLOW),
        ],
        # Without an address the message goes to the other end of the pair.
        "sendto": [*_all_zero(_low(4), _high(4)), _give(_ALLOW)],
    }


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


def _low(argument: int) -> int:
    return 16 + 8 * argument  # both machines are little-endian


def _high(argument: int) -> int:
    return 20 + 8 * argument


def _load(offset: int) -> bytes:
    return _jump(_LOAD, offset, 0, 0)


def _and(mask: int) -> bytes:
    return _jump(_AND, mask, 0, 0)


def _give(verdict: int) -> bytes:
    return _jump(_RETURN, verdict, 0, 0)


def _jump(code: int, value: int, true: int, false: int) -> bytes:
    return struct.pack("<HBBI", code, true, false, value)
