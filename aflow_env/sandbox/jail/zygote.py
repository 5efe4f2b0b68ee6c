# SPDX-License-Identifier: Apache-2.0
"""The warm process that every jailed child is forked from. It runs no generated code.

It starts as a script in an isolated interpreter with an empty environment, imports the modules that workflows use, and
waits. It forks for each job. The child confines itself before it reads the job from its pipe. As it runs one job at a
time, every process below it belongs to that job. It ends when its parent does, and takes the child and the directory
with it. The next zygote removes the directory of a killed one. Standard library only. Nothing of aflow_env is imported
but the files of this folder and of kernel/.

`zygote.py CONTROL_FD TEMP_DIR LAYER,LAYER...` speaks JSON lines over the inherited socket CONTROL_FD:
in `{"start": {"limits": {...}, "disk_bytes": n, "threads": n}}` with the child's end of the pipe, `{"kill": true}`;
out `{"ready": pid, "home": path, "layers": [...]}`, `{"ended": code, "problem": n, "why": text, "refused": text}`.
"""

import contextlib
import gc
import json
import mmap
import os
import random
import selectors
import signal
import socket
import struct
import sys
import types
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

if "aflow_env" not in sys.modules:  # a script: give the siblings their package names, and run no package's __init__
    _root = Path(__file__).resolve().parents[2]
    for _name in ("aflow_env", "aflow_env.sandbox", "aflow_env.sandbox.jail", "aflow_env.sandbox.kernel"):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [str(_root.joinpath(*_name.split(".")[1:]))]

from aflow_env.sandbox.jail import exam, runtime, scratch
from aflow_env.sandbox.jail.wire import Link, failure, load, run
from aflow_env.sandbox.kernel import confine

WARM = (
    "asyncio base64 bisect bz2 cmath collections copy dataclasses datetime decimal enum fractions functools hashlib "
    "heapq inspect itertools json lzma math numbers operator queue random re statistics string textwrap threading "
    "traceback typing unicodedata zlib"
)
"""The modules that generated code imports most, and every module that maps a shared library."""

CODE_OUTPUT_CHARS = 20_000  # characters of a result of Programmer's code, which goes into a prompt
WATCH_SECONDS = 0.1  # seconds between two counts of a running job's files and threads


class Zygote:
    """Forks one child after another at the parent's request."""

    def __init__(self, control: socket.socket, home: Path, confinement: confine.Confinement) -> None:
        self._control = control
        self._home = home
        self._confinement = confinement
        self._board = mmap.mmap(-1, 8)
        self._pid = 0
        self._job: dict[str, Any] = {}

    def serve(self) -> None:
        """Serve until the parent closes the control socket or dies."""
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ, self._read)
        # This ends at the parent's death even where a fork of the parent still has the socket open.
        with contextlib.suppress(AttributeError, OSError):
            selector.register(os.pidfd_open(os.getppid()), selectors.EVENT_READ, lambda: False)
        wake, waker = socket.socketpair()  # can be read when a child has ended
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.detach())
        selector.register(wake, selectors.EVENT_READ, lambda: bool(wake.recv(4096)))
        try:
            while all(key.data() for key, _ in selector.select(WATCH_SECONDS if self._pid else None)):
                if self._pid:
                    self._look()
        finally:
            self._kill()

    def tell(self, message: dict[str, Any]) -> None:
        """Send one line to the parent. It is lost when the parent is gone, which ends `serve`."""
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps(message).encode() + b"\n")

    def _read(self) -> bool:
        try:
            data, pipes, _, _ = socket.recv_fds(self._control, 1 << 16, 1)
        except ConnectionResetError:  # the parent closed with a line of ours unread
            return False
        for line in data.splitlines():
            command = json.loads(line)
            if "start" in command:
                self._start(command["start"], pipes.pop())
            else:
                self._kill()
        return bool(data)

    def _start(self, job: dict[str, Any], pipe: int) -> None:
        self._job = job
        self._write(-1)
        self._pid, refused = confine.fork(
            lambda: self._confinement.apply(job["limits"]), (pipe, self._confinement.landlock_fd), self._home
        )
        if self._pid == 0:
            try:
                run_job(pipe, self._write)
            finally:
                os._exit(0)
        os.close(pipe)
        if refused:
            self._kill(refused=refused)

    def _write(self, problem: int) -> None:
        struct.pack_into("i", self._board, 0, problem)

    def _look(self) -> None:
        """Reap the child when it has ended. Kill it when it has too much on disk or too many threads."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            self._finish(status)
            return
        used = scratch.usage(self._home)
        if used is None or used > self._job["disk_bytes"]:
            self._kill(f"more than {self._job['disk_bytes'] >> 20} MB or {scratch.MAX_ENTRIES} files on disk")
        elif _threads(self._pid) > self._job["threads"]:
            self._kill(f"more than {self._job['threads']} threads")

    def _kill(self, why: str = "", refused: str = "") -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._finish(os.waitpid(self._pid, 0)[1], why, refused)

    def _finish(self, status: int, why: str = "", refused: str = "") -> None:
        """End the processes that the reaped child left, empty the directory, and report the end."""
        confine.end_descendants(self._pid)
        self._pid = 0
        scratch.empty(self._home)
        (problem,) = struct.unpack_from("i", self._board, 0)
        code = os.waitstatus_to_exitcode(status)
        self.tell({"ended": code, "problem": problem, "why": why, "refused": refused})


def run_job(fd: int, board: Callable[[int], None]) -> None:
    """Take one job from the pipe `fd`, run generated code for it, and send the result. Runs in a confined fork.

    Generated code shares this interpreter, so nothing here protects: the kernel (confine.py) and the parent
    (conversation.py) do. The parent believes a child about nothing but the answer of the code that could have forged
    it. `board(i)` notes that problem i has the processor.
    """
    link = Link(fd)
    try:
        job = link.receive()
    except EOFError:
        return
    link.cap = int(job["cap"])
    random.seed(0)  # a rerun of the same search must draw the same numbers
    match job["kind"]:
        case "workflow":
            session = runtime.Session(link, job["step_seconds"], board)
            session.load(job["graph"], job["prompts"])
            session.serve()
        case "code":
            try:
                text = str(run(load(job["code"], "solution")[job["function"]], *job["arguments"]))
                text = text if len(text) <= CODE_OUTPUT_CHARS else text[: CODE_OUTPUT_CHARS - 3] + "..."
                link.send({"end": 0, "outcome": "ok", "value": text})
            except BaseException as error:
                link.send(failure(0, error))
        case "solution":
            exam.serve_solution(link, job["code"], job["entry_point"])
        case "judge":
            link.send(exam.judge(link, job["tests"], job["entry"], job["entry_point"]))


def confinement(wanted: list[str], home: Path, library: list[str]) -> confine.Confinement:
    """Return the strongest confinement of the wanted layers that a child of this process can put on."""
    for given_up in ((), ("seccomp",), ("landlock",), ("seccomp", "landlock"), confine.LAYERS):
        try:
            candidate = confine.Confinement([layer for layer in wanted if layer not in given_up], home, library)
        except OSError:  # announced by the kernel, and refused
            continue
        pid, refused = confine.fork(partial(candidate.apply, {}), (candidate.landlock_fd,), home)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        if not refused:
            break
    return candidate


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def main() -> None:
    """Prepare, report the layers of the children, and serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.environ.clear()
    confine.adopt_orphans()
    scratch.sweep(sys.argv[2])
    home, _lock = scratch.make(sys.argv[2])
    try:
        for name in WARM.split():
            with contextlib.suppress(ImportError):
                import_module(name)
        ready = confinement(sys.argv[3].split(","), home, sys.path)
        zygote = Zygote(control, home, ready)
        gc.collect()
        gc.freeze()
        zygote.tell({"ready": os.getpid(), "home": str(home), "layers": ready.layers()})
        zygote.serve()
    finally:
        scratch.remove(home)


if __name__ == "__main__":
    main()
