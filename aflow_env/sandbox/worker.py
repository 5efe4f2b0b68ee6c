# SPDX-License-Identifier: Apache-2.0
"""The parent's handle on one zygote (zygote.py), on the child that it is running, and on the child's result."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Literal, cast

from aflow_env.errors import InfrastructureError
from aflow_env.sandbox.jail import scratch
from aflow_env.sandbox.jail.wire import JSON, pack

Outcome = Literal["ok", "timeout", "crash", "violation"]


@dataclass(frozen=True)
class JailRun:
    """The result of one problem or piece of code: `value` for `ok`, else `error` (one short line)."""

    outcome: Outcome
    value: JSON = None
    error: str = ""
    seconds: float = 0.0


START_SECONDS = 30.0
LOADER = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Some interpreters need these to start. The zygote clears its environment before any generated code runs."""
OnLine = Callable[[bytes | None], None]


@dataclass(frozen=True)
class ChildEnd:
    """The end of a child: exit code (negative: the signal), the problem at work, why it was killed or never ran."""

    code: int
    problem: int
    why: str
    refused: str

    def verdict(self, cpu_seconds: int) -> tuple[Outcome, str]:
        """Return the outcome and error of the code that ran in it. `cpu_seconds` was its limit."""
        if self.why:
            return "violation", self.why
        if -self.code in (signal.SIGPROF, signal.SIGXCPU):
            return "timeout", f"more than {cpu_seconds} s of processor time without a pause"
        if -self.code == signal.SIGSYS:
            return "violation", "a forbidden system call"
        if self.code < 0:
            return "crash", f"killed by {signal.Signals(-self.code).name}"
        return "crash", f"the process exited with status {self.code}"


class Lines(asyncio.Protocol):
    """A socket of lines of at most `cap` bytes. A longer line is dropped and passed on as None."""

    def __init__(self, on_line: OnLine, cap: int) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._on_line = on_line
        self._cap = cap
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if b"\n" in data:
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                self._on_line(bytes(line) if len(line) <= self._cap else None)
        if len(self._buffer) > self._cap:
            self._buffer.clear()
            self._on_line(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def send(self, frame: dict[str, JSON]) -> None:
        """Send a frame, unless the socket is closing."""
        if not self.transport.is_closing():
            self.transport.write(pack(frame))


class Child(Lines):
    """One running job: frames to it, lines from it, and its end."""

    def __init__(self, worker: "Worker", on_line: OnLine, cap: int) -> None:
        super().__init__(on_line, cap)
        self._worker = worker
        self.lost.add_done_callback(lambda _: self.kill())  # a child that closed the pipe cannot answer

    def kill(self) -> None:
        """End it now. Does nothing when it has ended."""
        self._worker.control.send({"kill": True})

    async def ended(self) -> ChildEnd:
        """Wait for its end, the clearing of its directory and its last line."""
        try:
            ended = await asyncio.shield(self._worker.ended)
            await self.lost
        finally:
            self.transport.close()
        if ended.refused:
            raise InfrastructureError(f"a sandbox layer that was there could not be put on: {ended.refused}")
        return ended


class Worker:
    """One zygote process, which runs one child at a time."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.home = Path()
        self.layers: tuple[str, ...] = ()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[ChildEnd] = asyncio.get_running_loop().create_future()
        self.process = process
        self.control = Lines(self._take, 1 << 16)
        self.control.lost.add_done_callback(self._gone)
        self._socket = control

    @classmethod
    async def start(cls, layers: Sequence[str]) -> "Worker":
        """Start a zygote and wait until it can fork. Raises InfrastructureError when it does not come up.

        Its children put on the ones of `layers` that this machine has: `worker.layers`.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            script = str(Path(__file__).with_name("jail") / "zygote.py")
            # As isolated as -I, which would refuse the fixed hash seed that makes each walk over a set the same.
            process = subprocess.Popen(  # noqa: ASYNC220 -- a few ms
                [interpreter(), "-s", "-S", "-P", "-B", script, str(theirs.fileno()), gettempdir(), ",".join(layers)],
                env={"PYTHONHASHSEED": "0", **{name: os.environ[name] for name in LOADER if name in os.environ}},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        worker = cls(process, ours)
        await asyncio.get_running_loop().create_unix_connection(lambda: worker.control, sock=ours)
        try:
            await asyncio.wait_for(asyncio.shield(worker.ready), START_SECONDS)
        except (TimeoutError, InfrastructureError) as error:
            await worker.close()
            raise InfrastructureError(f"the sandbox's helper process did not start: {error}") from error
        return worker

    async def launch(self, job: dict[str, Any], cap: int, on_line: OnLine) -> Child:
        """Fork a child with the limits of `job`. Lines of up to `cap` bytes go to `on_line`, longer ones as None."""
        loop = asyncio.get_running_loop()
        self.ended = loop.create_future()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            _, child = await loop.create_unix_connection(lambda: Child(self, on_line, cap), sock=ours)
            try:
                socket.send_fds(self._socket, [pack({"start": job})], [theirs.fileno()])
            except OSError as error:
                child.transport.close()
                raise InfrastructureError(f"the sandbox's helper process is gone: {error}") from error
        return child

    @property
    def alive(self) -> bool:
        return not self.control.transport.is_closing()

    async def close(self) -> None:
        """End the zygote, and with it its child and its directories. Waits until it is reaped."""
        self.control.transport.close()
        try:
            await asyncio.to_thread(self.process.wait, 5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.layers:
            await asyncio.to_thread(scratch.remove, self.home)

    def _take(self, line: bytes | None) -> None:
        message = json.loads(line or b"{}")
        if "ready" in message:
            self.home, self.layers = Path(message["home"]), tuple(message["layers"])
            self.ready.set_result(None)
        elif "ended" in message and not self.ended.done():
            self.ended.set_result(ChildEnd(message.pop("ended"), **message))

    def _gone(self, _: object) -> None:
        for future in (self.ready, self.ended):
            if not future.done():
                future.set_exception(InfrastructureError("the sandbox's helper process died"))
                future.exception()  # mark it as read: perhaps nothing awaits it


def interpreter() -> str:
    """Return the interpreter itself, not a virtual environment's link to it: the jail has no installed packages."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
