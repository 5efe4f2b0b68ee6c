# SPDX-License-Identifier: Apache-2.0
"""seccomp: filter every system call of a jailed child by a small BPF program.

`ALLOWED` is an allow-list, with the numbers of the calls on x86_64 and aarch64 (None where there is none), from the
kernel's unistd headers. Calls of `GUARDED` pass when their arguments do. Calls of `ABSENT` get ENOSYS, so that the C
library falls back to an older call whose arguments a filter can judge. Others get EPERM, which Python raises as
PermissionError. The list leaves out chmod, chown, utime and xattr (Landlock does not govern them), link, symlink,
mknod, truncate by path, and each call that makes a process, a socket, shared memory or a mount, or that touches another
process.

A call by the entry of another architecture (32-bit on a 64-bit kernel) ends the process with SIGSYS. The filter needs
no_new_privs and no other privilege.
"""

import ctypes
import errno
import os
import platform
import re
import struct

Numbers = tuple[int | None, int | None]


def _table(rows: str) -> dict[str, Numbers]:
    """Read rows `NAME X86_64 AARCH64`. `-` is None, and all other text is a comment."""
    found = re.findall(r"(\w+) (\d+|-) (\d+|-)", rows)
    return {name: (int(x86) if x86 != "-" else None, int(arm) if arm != "-" else None) for name, x86, arm in found}


ALLOWED = _table(
    """
    files and directories; Landlock says which:
        read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, close 3 57,
        close_range 436 436, fstat 5 80, newfstatat 262 79, stat 4 -, lstat 6 -, statx 332 291, lseek 8 62, dup 32 23,
        dup2 33 -, dup3 292 24, pipe 22 -, pipe2 293 59, access 21 -, faccessat 269 48, faccessat2 439 439,
        getcwd 79 17, chdir 80 49, fchdir 81 50, rename 82 -, renameat 264 38, renameat2 316 276, mkdir 83 -,
        mkdirat 258 34, rmdir 84 -, unlink 87 -, unlinkat 263 35, readlink 89 -, readlinkat 267 78, ftruncate 77 46,
        fallocate 285 47, fsync 74 82, fdatasync 75 83, flock 73 32, getdents64 217 61, umask 95 166,
        fadvise64 221 223, sendfile 40 71, statfs 137 43, fstatfs 138 44
    memory:
        brk 12 214, mmap 9 222, munmap 11 215, mremap 25 216, mprotect 10 226, madvise 28 233, msync 26 227
    the process itself:
        exit 60 93, exit_group 231 94, getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175,
        getgid 104 176, getegid 108 177, getgroups 115 158, getresuid 118 148, getresgid 120 150, getpgrp 111 -,
        getpgid 121 155, getsid 124 156, getrusage 98 165, times 100 153, sched_yield 24 124,
        sched_getaffinity 204 123, getpriority 140 141, getrlimit 97 163, uname 63 160, sysinfo 99 179,
        getrandom 318 278, getcpu 309 168, wait4 61 260, waitid 247 95, set_robust_list 273 99, set_tid_address 218 96,
        rseq 334 293, futex 202 98, restart_syscall 219 128
    time:
        nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114, gettimeofday 96 169,
        time 201 -, alarm 37 -, pause 34 -, getitimer 36 102, setitimer 38 103
    its own signals:
        rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
        rt_sigtimedwait 128 137, rt_sigsuspend 130 133, sigaltstack 131 132
    waiting for the pipe; an event loop wakes itself over a pair of sockets:
        epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, poll 7 -,
        ppoll 271 73, select 23 -, pselect6 270 72, eventfd2 290 19, recvfrom 45 207, getsockname 51 204,
        getpeername 52 205
    """
)

GUARDED = _table(
    """
    open 2 -, openat 257 56, fcntl 72 25, ioctl 16 29, prlimit64 302 261, clone 56 220, kill 62 129, tgkill 234 131,
    prctl 157 167, socketpair 53 199, sendto 44 206
    """
)

ABSENT = _table("clone3 435 435")


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
_libc = ctypes.CDLL(None, use_errno=True)


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
    argument = _Filter(len(code) // 8, ctypes.addressof(buffer))
    if _libc.prctl(22, ctypes.c_ulong(2), ctypes.byref(argument), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp: {os.strerror(error)}")


def available() -> bool:
    """Return whether this kernel filters system calls and the tables have this machine."""
    return platform.machine() in MACHINES and int(_libc.prctl(21, 0, 0, 0, 0)) >= 0


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
