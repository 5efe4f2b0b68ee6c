# SPDX-License-Identifier: Apache-2.0
"""The child's end of the pipe, calls of generated code, the frame of a failure. Standard library only."""

import asyncio
import inspect
import os
from collections import deque
from typing import Any

from aflow_env.sandbox.jail.wire import JSON, FrameError, pack, short, unpack


class Link:
    """The child's end of the pipe: whole frames in and out, of at most `cap` bytes out."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.cap = 1 << 16
        self._buffer = bytearray()
        self._frames: deque[dict[str, JSON]] = deque()

    def send(self, frame: dict[str, JSON]) -> None:
        data = pack(frame)
        if len(data) > self.cap:
            raise FrameError(f"{len(data)} bytes in one message; the limit is {self.cap}")
        while data:
            data = data[os.write(self.fd, data) :]

    def receive(self) -> dict[str, JSON]:
        """Wait for the next frame. Raises EOFError when the parent has closed."""
        while not self._frames:
            self._fill()
        return self._frames.popleft()

    def receive_all(self) -> list[dict[str, JSON]]:
        """Read once and return the complete frames. Raises EOFError when the parent has closed."""
        self._fill()
        frames = list(self._frames)
        self._frames.clear()
        return frames

    def _fill(self) -> None:
        data = os.read(self.fd, 1 << 16)
        if not data:
            raise EOFError
        self._buffer += data
        if b"\n" in data:
            *lines, self._buffer = self._buffer.split(b"\n")
            self._frames.extend(unpack(bytes(line)) for line in lines)


def failure(index: int, error: BaseException) -> dict[str, JSON]:
    """Return the frame that ends problem `index` with `error`: a violation for a refused operation, else a crash."""
    seen: set[int] = set()
    cause: BaseException | None = error
    blocked = False
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        blocked = blocked or isinstance(cause, PermissionError | FrameError)
        cause = cause.__cause__ or cause.__context__
    text, name = short(error), type(error).__name__
    outcome = "violation" if blocked else "crash"
    return {"end": index, "outcome": outcome, "error": f"{name}: {text}" if text else name}


def load(code: str, name: str) -> dict[str, Any]:
    """Run `code` and return its global names. It is no `__main__`, so a script's own test block does not run."""
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(code, f"{name}.py", "exec"), namespace)
    return namespace


def run(function: Any, *args: Any, **named: Any) -> Any:
    """Call a function, and run the coroutine that it returns if it is an async one."""
    value = function(*args, **named)
    return asyncio.run(value) if inspect.iscoroutine(value) else value
