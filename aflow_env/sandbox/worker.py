# SPDX-License-Identifier: Apache-2.0
"""The parent's handle on one zygote (zygote.py) and on the child that it is running."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aflow_env.errors import InfrastructureError
from aflow_env.sandbox.wire import JSON, pack

START_SECONDS = 30.0


@dataclass(frozen=True)
class Ended:
    """How a child ended: exit code (negative: the signal), the problem that had the processor, and the zygote's reason."""

    code: int
    problem: int
    why: str


class Lines(asyncio.Protocol):
    """Splits a stream into lines of at most `cap` bytes; a longer one is cut off and told as None, once."""

    def __init__(self, on_line: Callable[[bytes | None], None], cap: int) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self._on_line = on_line
        self._cap = cap
        self._buffer = bytearray()

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


class Child:
    """One running job: frames to it, lines from it, and its end."""

    def __init__(self, transport: asyncio.Transport, lines: Lines, worker: "Worker") -> None:
        self._transport = transport
        self._lines = lines
        self._worker = worker

    def send(self, frame: dict[str, JSON]) -> None:
        self._transport.write(pack(frame))

    def kill(self) -> None:
        """End it now; does nothing when it has ended."""
        self._worker.tell({"kill": True})

    async def ended(self) -> Ended:
        """Wait for its end, its directory's removal and its last line."""
        ended = await asyncio.shield(self._worker.ended)
        await self._lines.lost
        self._transport.close()
        return ended


class Worker:
    """One zygote process, which runs one child at a time."""

    def __init__(self, process: subprocess.Popen[bytes], control: asyncio.Transport) -> None:
        self.base = ""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._process = process
        self._control = control
        self._socket: socket.socket

    @classmethod
    async def start(cls) -> "Worker":
        """Start a zygote and wait until it can fork; raises InfrastructureError when it does not come up."""
        ours, theirs = socket.socketpair()
        with theirs:
            script = str(Path(__file__).with_name("zygote.py"))
            # As isolated as -I: no user site, no script directory, no environment but the fixed hash seed (which -I
            # would refuse), so that a workflow that walks a set does the same thing each time.
            process = subprocess.Popen(  # noqa: ASYNC220 -- a few ms, and the zygote must not be tied to a thread
                [interpreter(), "-s", "-S", "-P", "-B", script, str(theirs.fileno()), tempfile.gettempdir()],
                env={"PYTHONHASHSEED": "0"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        worker: Worker | None = None

        def take(line: bytes | None) -> None:
            assert worker is not None
            worker._take(json.loads(line or b"{}"))

        loop = asyncio.get_running_loop()
        ours.setblocking(False)
        transport, lines = await loop.create_connection(lambda: Lines(take, 1 << 16), sock=ours)
        worker = cls(process, transport)
        worker._socket = ours
        lines.lost.add_done_callback(worker._gone)
        try:
            await asyncio.wait_for(asyncio.shield(worker.ready), START_SECONDS)
        except (TimeoutError, InfrastructureError) as error:
            await worker.close()
            raise InfrastructureError(f"the sandbox's helper process did not start: {error}") from error
        return worker

    async def launch(self, job: dict[str, Any], on_line: Callable[[bytes | None], None], cap: int) -> Child:
        """Fork a child with the limits of `job`; lines of at most `cap` bytes come to `on_line` (None: a longer one)."""
        loop = asyncio.get_running_loop()
        self.ended = loop.create_future()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            transport, lines = await loop.create_connection(lambda: Lines(on_line, cap), sock=ours)
            try:
                socket.send_fds(self._socket, [pack({"start": job})], [theirs.fileno()])
            except OSError as error:
                transport.close()
                raise InfrastructureError(f"the sandbox's helper process is gone: {error}") from error
        return Child(transport, lines, self)

    def tell(self, command: dict[str, Any]) -> None:
        self._control.write(pack(command))

    async def close(self) -> None:
        """End the zygote, and with it its child and its directories; waits until it is reaped."""
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, 5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self.base:
            await asyncio.to_thread(shutil.rmtree, self.base, ignore_errors=True)

    def _take(self, message: dict[str, Any]) -> None:
        if "ready" in message:
            self.base = message["base"]
            self.ready.set_result(None)
        elif "ended" in message and not self.ended.done():
            self.ended.set_result(Ended(message["ended"], message["problem"], message["why"]))

    def _gone(self, _: object) -> None:
        for future in (self.ready, self.ended):
            if not future.done():
                future.set_exception(InfrastructureError("the sandbox's helper process died"))
                future.exception()  # somebody may not be waiting


def interpreter() -> str:
    """The interpreter itself, not a virtual environment's link to it: the jail has the standard library alone."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
