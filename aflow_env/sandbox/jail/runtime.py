# SPDX-License-Identifier: Apache-2.0
"""The event loop of a workflow inside the jail: problems side by side, operator calls out, replies in.

One problem is one asyncio task and the tasks that it starts. Each step of such a task first writes its problem's number
to the board (memory that the zygote shares) and starts a processor timer. The kernel ends a step that never yields
(SIGPROF), even inside C code, and the board names its problem. Standard library only.
"""

import asyncio
import contextlib
import re
import signal
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any

from aflow_env.sandbox.jail.link import Link, failure, load
from aflow_env.sandbox.jail.virtual import Modules
from aflow_env.sandbox.jail.wire import JSON

PROBLEM: ContextVar[int] = ContextVar("PROBLEM", default=-1)


class OperatorError(Exception):
    """The parent refused or could not answer an operator call, for the reason in the text."""


class AnnouncedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine that announces its problem each time it gets the processor."""

    def __init__(self, inner: Coroutine[Any, Any, Any], enter: Callable[[int], None]) -> None:
        self._inner = inner
        self._enter = enter
        self._problem = PROBLEM.get()

    def send(self, value: Any) -> Any:
        self._enter(self._problem)
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        self._enter(self._problem)
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


class Session:
    """All problems of one child: answers and operator calls go out as frames, problems and replies come in."""

    def __init__(self, link: Link, step_seconds: float, board: Callable[[int], None]) -> None:
        self.loop = asyncio.new_event_loop()
        self._link = link
        self._step_seconds = step_seconds
        self._board = board
        self._workflow: Any = None
        self._dataset = ""
        self._asked = 0
        self._waiting: dict[int, asyncio.Future[dict[str, JSON]]] = {}
        self._tasks: dict[int, list[asyncio.Task[Any]]] = {}
        self.loop.set_task_factory(self._task)

    def load(self, graph: str, prompts: str) -> None:
        """Run the workflow's module, and report to the parent that problems can come, or why they cannot."""
        self._enter(-1)
        try:
            Modules(prompts, self.ask).install()
            self._workflow = load(graph, "graph")["Workflow"]
            named = re.search(r"workspace\.(\w+)\.", graph)  # AFlow passes the data set to the constructor
            self._dataset = named[1] if named else ""
        except BaseException as error:
            self._link.send({**failure(-1, error), "ready": False})
        else:
            self._link.send({"ready": True})

    def serve(self) -> None:
        """Run the loop until the parent closes the pipe. A SystemExit of generated code stops it: start it again."""
        self.loop.add_reader(self._link.fd, self._read)
        while True:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()
                return

    async def ask(self, operator: str, arguments: dict[str, JSON]) -> dict[str, JSON]:
        """Send one operator call to the parent and await its reply."""
        self._asked += 1
        number = self._asked
        future: asyncio.Future[dict[str, JSON]] = self.loop.create_future()
        self._waiting[number] = future
        self._link.send({"id": number, "call": PROBLEM.get(), "operator": operator, "arguments": arguments})
        return await future

    def _read(self) -> None:
        try:
            frames = self._link.receive_all()
        except EOFError:
            self.loop.stop()
            return
        for frame in frames:
            self._take(frame)

    def _take(self, frame: dict[str, JSON]) -> None:
        match frame:
            case {"run": int(index), "arguments": dict(arguments)}:
                token = PROBLEM.set(index)
                self.loop.create_task(self._solve(index, arguments))
                PROBLEM.reset(token)
            case {"cancel": int(index)}:
                for task in self._tasks.get(index, []):
                    task.cancel()
            case {"id": int(number), **reply}:
                future = self._waiting.pop(number, None)
                if future is None or future.done():
                    return
                if "error" in reply:
                    future.set_exception(OperatorError(reply["error"]))
                else:
                    future.set_result(reply)

    async def _solve(self, index: int, arguments: dict[str, JSON]) -> None:
        try:
            answer, _cost = await self._workflow("Workflow", {}, self._dataset)(**arguments)
            self._link.send(
                {"end": index, "outcome": "ok", "value": answer if isinstance(answer, str) else str(answer)}
            )
        except BaseException as error:
            self._link.send(failure(index, error))
        own = asyncio.current_task()
        for task in self._tasks.pop(index, []):
            if task is not own:
                task.cancel()

    def _task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        work = AnnouncedCoroutine(work, self._enter) if asyncio.iscoroutine(work) else work
        task = asyncio.Task(work, loop=loop, **options)
        self._tasks.setdefault(PROBLEM.get(), []).append(task)
        return task

    def _enter(self, problem: int) -> None:
        self._board(problem)
        signal.setitimer(signal.ITIMER_PROF, self._step_seconds)


def serve(link: Link, job: dict[str, JSON], board: Callable[[int], None]) -> None:
    """Do the job "workflow": load it once, then solve problems until the pipe closes."""
    session = Session(link, job["step_seconds"], board)
    session.load(job["graph"], job["prompts"])
    session.serve()
