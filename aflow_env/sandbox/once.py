# SPDX-License-Identifier: Apache-2.0
"""The parent's side of runs without operator calls: a function of some code, and a solution against tests."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aflow_env.errors import ConfigError
from aflow_env.sandbox.jail.wire import JSON, FrameError, short, unpack
from aflow_env.sandbox.worker import Child, JailRun, Outcome, Worker

Part = tuple[Worker, dict[str, JSON] | None, Callable[[dict[str, JSON]], None]]
"""A worker, the first frame for its child (None: sent later), and the function that takes the child's frames."""


@dataclass(eq=False)
class Once:
    """One run with one result: the first of an answer, a broken frame, the end of a child and the end of the time.

    `settings` are the limits that a zygote gets with a job, `cap` is the bytes of the longest frame.
    """

    settings: dict[str, Any]
    cap: int
    seconds: float

    def __post_init__(self) -> None:
        self._result: asyncio.Future[tuple[Outcome, JSON, str]] = asyncio.get_running_loop().create_future()

    async def call(self, worker: Worker, code: str, function: str, arguments: list[JSON]) -> JailRun:
        """Run `function(*arguments)` of `code`."""
        job = {"kind": "code", "code": code, "function": function, "arguments": arguments}
        return await self._run([(worker, job, self._end)], [])

    async def test(
        self, for_solution: Worker, for_tests: Worker, solution: str, tests: str, entry_point: str
    ) -> JailRun:
        """Run `solution` against `tests`, each in a child of its own, and hand their frames over.

        A frame passes the turn to the other child. A frame out of turn is a violation.
        """
        turn = 0
        children: list[Child] = []

        def from_solution(frame: dict[str, JSON]) -> None:
            nonlocal turn
            match frame:
                case {"end": 0, "outcome": "ok"}:
                    self._end({**frame, "outcome": "crash"})
                case {"end": 0}:
                    self._end(frame)
                case {"ready": True, "entry": str(entry)} if turn == 0:
                    turn = 2
                    children[1].send({**judge, "entry": entry})
                case {"id": int()} if turn == 1:
                    turn = 2
                    children[1].send(frame)
                case _:
                    raise FrameError("an answer that nobody asked for")

        def from_tests(frame: dict[str, JSON]) -> None:
            nonlocal turn
            match frame:
                case {"id": int()} if turn == 2:
                    turn = 1
                    children[0].send(frame)
                case {"end": 0, "outcome": "unfit", "error": str(error)}:
                    self._fail(ConfigError(f"the hidden tests judge no solution: {short(error)}"))
                case _:
                    self._end(frame)

        judge = {"kind": "judge", "cap": self.cap, "tests": tests, "entry_point": entry_point}
        job = {"kind": "solution", "code": solution, "entry_point": entry_point}
        return await self._run([(for_solution, job, from_solution), (for_tests, None, from_tests)], children)

    async def _run(self, parts: list[Part], children: list[Child]) -> JailRun:
        """Start a child of each part, in order, in `children`. Send the first frames. Wait for the result."""
        began = time.monotonic()
        ends: list[asyncio.Task[None]] = []
        try:
            for worker, _, take in parts:
                children.append(await worker.launch(self.settings, self.cap, partial(self._line, take)))
            ends += [asyncio.create_task(self._ended(child)) for child in children]
            for child, (_, job, _) in zip(children, parts, strict=True):
                if job is not None:
                    child.send({**job, "cap": self.cap})
            async with asyncio.timeout(self.seconds):
                outcome, value, error = await self._result
        except TimeoutError:
            outcome, value, error = "timeout", None, f"more than {self.seconds:g} s"
        finally:
            for child in children:
                child.kill()
            await asyncio.gather(*ends)
        return JailRun(outcome, value, error, time.monotonic() - began)

    def _line(self, take: Callable[[dict[str, JSON]], None], line: bytes | None) -> None:
        try:
            if line is None:
                raise FrameError(f"a message of more than {self.cap} bytes")
            take(unpack(line))
        except FrameError as error:
            self._settle("violation", None, f"broker: {error}")

    def _end(self, frame: dict[str, JSON]) -> None:
        match frame:
            case {"end": 0, "outcome": "ok", "value": value}:
                self._settle("ok", value, "")
            case {"end": 0, "outcome": "crash" | "violation" as outcome, "error": str(error)}:
                self._settle(outcome, None, short(error))
            case _:
                raise FrameError("a message of unknown form")

    async def _ended(self, child: Child) -> None:
        try:
            ended = await child.ended()
        except Exception as error:  # the helper process died: raised where the result is awaited
            self._fail(error)
            return
        outcome, text = ended.verdict(int(self.seconds) + 1)
        self._settle(outcome, None, text)

    def _fail(self, error: Exception) -> None:
        if not self._result.done():
            self._result.set_exception(error)

    def _settle(self, outcome: Outcome, value: JSON, error: str) -> None:
        if not self._result.done():
            self._result.set_result((outcome, value, error))
