# SPDX-License-Identifier: Apache-2.0
"""The system calls that a jailed child may make, with their numbers on x86_64 and aarch64 (None where there is none).

This is an allow-list: every other call is refused. `GUARDED` names the calls that pass with some arguments only
(seccomp.py). The calls of `ABSENT` get ENOSYS, so that the C library falls back to an older call whose arguments a
filter can judge. The list leaves out chmod, chown, utime and xattr (Landlock does not govern them), link, symlink,
mknod, truncate by path, and each call that makes a process, a socket, shared memory or a mount, or that touches another
process. The numbers come from the kernel's unistd headers.
"""

import re

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
