# SPDX-License-Identifier: Apache-2.0
"""The frames between parent and child: one JSON object a line, UTF-8, size-capped, never pickle; and the child's end.

`unpack` trusts nothing: from any bytes it returns a plain dictionary that can be encoded again, or raises `FrameError`.
Standard library only.
"""

import asyncio
import inspect
import json
import math
import os
from collections import deque
from typing import Any, NoReturn

JSON = Any  # a JSON value: None, bool, int, float, str, list, dict with string keys
MAX_DIGITS = 300  # digits of an integer in a frame: a longer one would cost the parent's processor time
MAX_DEPTH = 50  # the deepest nesting of a frame: code that walks it later must not run out of stack


class FrameError(ValueError):
    """The bytes are no frame: not UTF-8, not JSON, not an object, too large, or not encodable again."""


def pack(frame: dict[str, JSON]) -> bytes:
    """Encode `frame` as a line. Values that JSON lacks become their `str`. NaN and infinities raise ValueError."""
    return _ENCODER.encode(frame).encode("utf-8", "replace") + b"\n"


def unpack(line: bytes) -> dict[str, JSON]:
    """Decode the frame on a line. Raises `FrameError` and nothing else."""
    try:
        frame = _DECODER.decode(line.decode("utf-8"))
        if line.count(b"[") + line.count(b"{") > MAX_DEPTH:
            _check_depth(frame, MAX_DEPTH)
        if b"\\u" in line:  # an escaped lone surrogate parses, and could not be written later
            json.dumps(frame, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not a frame: {type(error).__name__}") from None
    if not isinstance(frame, dict):
        raise FrameError(f"not a frame: {type(frame).__name__} instead of an object")
    return frame


def short(text: object, limit: int = 300) -> str:
    """Return one printable line of at most `limit` characters, for error texts that untrusted code may have chosen."""
    line = " ".join(str(text)[: 4 * limit].split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= limit else line[: limit - 3] + "..."


def _check_depth(value: JSON, left: int) -> None:
    if not left:
        raise FrameError(f"not a frame: nested more than {MAX_DEPTH} deep")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, left - 1)


def _refuse(constant: str) -> NoReturn:
    raise FrameError(f"not a frame: {constant[:20]}")


def _float(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise FrameError("not a frame: an integer of too many digits")
    return int(digits)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=_integer, parse_float=_float)


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
