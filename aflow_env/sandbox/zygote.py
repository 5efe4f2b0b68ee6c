# SPDX-License-Identifier: Apache-2.0
"""The warm process that every jailed child is forked from: one trusted helper a worker, with no generated code in it.

It is started as a script in an isolated interpreter with an empty environment, imports what workflows use, and waits. For
each job it makes a private directory, forks, and the child confines itself before it reads the job. One job at a time,
so that whatever is left of a job when its first process ends is easy to name: everything below the zygote. It ends when
its parent does, and takes the child and the directories with it; what a killed zygote leaves, the next one sweeps.
Standard library only; nothing of aflow_env is imported but the files of this directory that the jail needs.
"""

import contextlib
import fcntl
import gc
import json
import mmap
import os
import resource
import selectors
import shutil
import signal
import socket
import struct
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if "aflow_env" not in sys.modules:  # a script: give the siblings their package names, and run no package's __init__
    _here = Path(__file__).resolve().parent
    for _name, _path in (("aflow_env", _here.parent), ("aflow_env.sandbox", _here)):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [str(_path)]

from aflow_env.sandbox import child

PREFIX = "aflow-jail-"
WATCH_SECONDS = 0.2
"""How often a running job's directory is measured."""


class Zygote:
    """Forks one child after another on the parent's word; `control` carries JSON lines and the child's pipe end."""

    def __init__(self, control: socket.socket, base: Path) -> None:
        self._control = control
        self._base = base
        self._board = mmap.mmap(-1, 8)
        self._pid = 0
        self._disk_bytes = 0
        self._jobs = 0

    def serve(self) -> None:
        """Until the parent closes the control socket or dies."""
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ, "control")
        with contextlib.suppress(
            AttributeError, OSError
        ):  # sees the parent's death even where a fork of it holds the socket
            selector.register(os.pidfd_open(os.getppid()), selectors.EVENT_READ, "parent")
        wake, waker = socket.socketpair()
        wake.setblocking(False)
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno())
        selector.register(wake, selectors.EVENT_READ, "child")
        self._tell({"ready": os.getpid(), "base": str(self._base)})
        buffer, fds = b"", []
        try:
            while True:
                for key, _ in selector.select(WATCH_SECONDS if self._pid else None):
                    if key.data == "parent":
                        return
                    if key.data == "child":
                        with contextlib.suppress(BlockingIOError):
                            wake.recv(4096)
                        continue
                    data, new, _, _ = socket.recv_fds(self._control, 1 << 16, 4)
                    if not data:
                        return
                    fds += new
                    *lines, buffer = (buffer + data).split(b"\n")
                    for line in lines:
                        self._take(json.loads(line), fds)
                if self._pid:
                    self._check()
        finally:
            self._kill()

    def _take(self, command: dict[str, Any], fds: list[int]) -> None:
        if "start" in command:
            self._start(command["start"], fds.pop(0))
        elif "kill" in command and self._pid:
            self._kill()

    def _start(self, job: dict[str, Any], pipe: int) -> None:
        self._jobs += 1
        home = self._base / str(self._jobs)
        home.mkdir(mode=0o700)
        self._disk_bytes = job["disk_bytes"]
        self._write(-1)
        zygote = os.getpid()
        self._pid = os.fork()
        if self._pid:
            os.close(pipe)
            return
        try:
            self._become_child(job, pipe, home, zygote)
        finally:
            os._exit(70)

    def _become_child(self, job: dict[str, Any], pipe: int, home: Path, zygote: int) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.dup2(pipe, 3)
        os.closerange(4, 1 << 16)
        os.chdir(home)
        os.umask(0o077)
        os.environ.clear()
        os.environ["TMPDIR"] = tempfile.tempdir = str(home)
        for name, value in job["rlimits"].items():
            resource.setrlimit(getattr(resource, name), (value, value))
        child.main(3, self._write)
        os._exit(0)

    def _write(self, problem: int) -> None:
        struct.pack_into("i", self._board, 0, problem)

    def _check(self) -> None:
        """Reap the child when it has ended, kill it when its directory is too large."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            self._finish(status)
        elif _usage(self._base / str(self._jobs)) > self._disk_bytes:
            self._kill("disk")

    def _kill(self, why: str = "") -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):  # not yet a group of its own
                os.kill(self._pid, signal.SIGKILL)
            self._finish(os.waitpid(self._pid, 0)[1], why)

    def _finish(self, status: int, why: str = "") -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        self._pid = 0
        remove_tree(self._base / str(self._jobs))
        (problem,) = struct.unpack_from("i", self._board, 0)
        self._tell({"ended": os.waitstatus_to_exitcode(status), "problem": problem, "why": why})

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the parent is gone; its end of the socket says so next
            self._control.sendall(json.dumps(message).encode() + b"\n")


def remove_tree(root: Path) -> None:
    """Remove a directory that hostile code filled: any depth, any permissions, links never followed."""
    shutil.rmtree(root, ignore_errors=True)


def _usage(root: Path) -> int:
    return sum(entry.stat().st_size for entry in _files(root))


def _files(root: Path) -> Iterator[Path]:
    yield from (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def make_base(parent: str) -> tuple[Path, int]:
    """A fresh directory for jobs, and a descriptor that holds it locked for as long as this process lives."""
    while True:
        base = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = os.open(base, os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if base.stat().st_ino == os.fstat(lock).st_ino:
                return base, lock
        os.close(lock)


def sweep(parent: str) -> None:
    """Remove the directories of zygotes that were killed: those of this user that nobody holds locked."""
    for path in Path(parent).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_tree(path)
            finally:
                os.close(lock)


def main() -> None:
    """`zygote.py CONTROL_FD TEMP_DIR`."""
    control = socket.socket(fileno=int(sys.argv[1]))
    sweep(sys.argv[2])
    base, _lock = make_base(sys.argv[2])
    os.environ.clear()
    gc.collect()
    gc.freeze()
    try:
        Zygote(control, base).serve()
    finally:
        remove_tree(base)


if __name__ == "__main__":
    main()
