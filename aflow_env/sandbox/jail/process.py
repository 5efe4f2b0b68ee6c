# SPDX-License-Identifier: Apache-2.0
"""Processes of a zygote: forked alone and confined, ended with all that they started. Standard library only."""

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from aflow_env.sandbox.kernel import confine

_CONFINED = b"."


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
        confine.die_with_parent(zygote)
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
            for task in Path("/proc/self/task").glob("*/children") if confine.LINUX else ():
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
