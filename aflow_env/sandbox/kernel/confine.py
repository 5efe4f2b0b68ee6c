# SPDX-License-Identifier: Apache-2.0
"""The layers between generated code and the machine, in the order in which a child puts them on.

    limits         rlimits: memory, processor time, file size, open files, no core, no locked memory
    capabilities   root gives up every capability (a plain user has none)
    landlock-N     files, TCP, signals: landlock.py
    seccomp        system calls: seccomp.py; rests on no_new_privs

Linux has all of them, other systems have the limits alone. The zygote prepares a `Confinement` once, and each child
that it forks applies it before it reads its job. A child stops when it cannot put on a layer of its Confinement.
Standard library only.
"""

import contextlib
import ctypes
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

LAYERS = ("limits", "capabilities", "landlock", "seccomp")
LINUX = sys.platform == "linux"

_NO_NEW_PRIVS, _DEATH_SIGNAL, _SUBREAPER, _DUMPABLE = 38, 1, 36, 4
_CONFINED = b"."

if LINUX:
    from aflow_env.sandbox.kernel import landlock, seccomp

    _libc = ctypes.CDLL(None, use_errno=True)


class Confinement:
    """The layers of `wanted` that this machine has. `home` is the one writable directory."""

    def __init__(self, wanted: Iterable[str], home: Path | None, library: Iterable[str]) -> None:
        self._wanted = frozenset(wanted)
        self._rules: landlock.Ruleset | None = None
        self.landlock_fd = -1
        if LINUX and "landlock" in self._wanted and landlock.version():
            self._rules = landlock.Ruleset()
            if home is not None:
                self._rules.allow(home, landlock.HOME)
            landlock.allow_interpreter(self._rules, library)
            self.landlock_fd = self._rules.fd
        self._seccomp = LINUX and "seccomp" in self._wanted and seccomp.available()

    def layers(self) -> tuple[str, ...]:
        """Return the names of the layers that `apply` puts on."""
        names = [name for name in (LAYERS[:2] if LINUX else LAYERS[:1]) if name in self._wanted]
        names += [f"landlock-{self._rules.version}"] if self._rules is not None else []
        return (*names, *(["seccomp"] if self._seccomp else []))

    def apply(self, limits: dict[str, int]) -> None:
        """Put all layers on, for ever. Raises OSError, or ValueError from a limit, when one cannot be put on."""
        if "limits" in self._wanted:
            for name, value in limits.items():
                _limit(getattr(resource, name), value + (_mapped() if name == "RLIMIT_AS" else 0))
        if not LINUX:
            return
        _prctl(_DUMPABLE, 0)
        if "capabilities" in self._wanted:
            header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
            if _libc.capset(header, (ctypes.c_uint32 * 6)()):
                raise OSError(ctypes.get_errno(), "capset")
        _prctl(_NO_NEW_PRIVS, 1)
        if self._rules is not None:
            self._rules.restrict()
            os.close(self.landlock_fd)
        if self._seccomp:
            seccomp.install(seccomp.program(os.getpid(), platform.machine()))


def adopt_orphans() -> None:
    """Make this process the parent of every descendant that loses its own."""
    if LINUX:
        _prctl(_SUBREAPER, 1)


def _mapped() -> int:
    """Return the bytes of address space that this process has already, mostly libraries: they are no job's."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        error = ctypes.get_errno()
        raise OSError(error, f"prctl {option}: {os.strerror(error)}")


def fork(put_on: Callable[[], None], keep: tuple[int, ...], home: Path) -> tuple[int, str]:
    """Fork a child with its own session and directory, no environment and no descriptor but `keep`, and confine it.

    Returns (0, "") in the child and (pid, reason) in the zygote: the reason why confinement failed, or "". The child
    writes it to a pipe that it closes once it is confined, so generated code cannot forge it. A silent child counts as
    not confined.
    """
    zygote = os.getpid()
    receive, send = os.pipe()
    pid = os.fork()
    if pid:
        os.close(send)
        with open(receive, "rb") as reasons:
            said = reasons.read()
        return pid, "" if said == _CONFINED else said.decode(errors="replace") or "it ended before it was confined"
    try:
        if LINUX:
            _prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != zygote:  # it has ended before
            os._exit(0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        _close_all_but({0, 1, 2, send, *keep})
        os.chdir(home)
        os.umask(0o077)
        os.environ["TMPDIR"] = tempfile.tempdir = str(home)
        put_on()
        os.write(send, _CONFINED)
        os.close(send)
        return 0, ""
    except BaseException as error:
        try:
            os.write(send, (str(error) or type(error).__name__).encode())
        finally:
            os._exit(70)


def end_descendants(session: int) -> None:
    """Kill and reap until this process has no child: without seccomp a job may start processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
            for task in Path("/proc/self/task").glob("*/children") if LINUX else ():
                for pid in task.read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.001)


def _close_all_but(keep: set[int]) -> None:
    low = 0
    for fd in sorted(fd for fd in keep if fd >= 0):
        if low < fd:  # closerange(0, 0) would close everything
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)
