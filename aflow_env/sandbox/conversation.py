# SPDX-License-Identifier: Apache-2.0
"""A workflow's problems over as many children as they take: one result a problem, and no request is paid twice.

The parent does not believe a child. It checks the shape, size, order and number of the frames, and kills a child that
breaks the protocol. A problem that stops, floods or kills its child ends with it. Its other problems start again in the
next child, with the replies that they had: each problem saves its replies by operator and arguments.
"""

import asyncio
import json
import signal
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from aflow_env.errors import BudgetExhausted, InfrastructureError, WorkflowError
from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.jail.wire import JSON, FrameError, short, unpack
from aflow_env.sandbox.worker import Child, ChildEnd, JailRun, OnLine, Outcome

Handler = Callable[[int, str, dict[str, JSON]], Awaitable[dict[str, JSON]]]
"""(problem's index, operator, arguments) -> {"result": {...}, "cost_usd": float}."""

MESSAGES = 10  # all operator calls of one problem together may be this many times as large as one message
GRACE_SECONDS = 1.0  # how long a child may take to give up a problem that is out of time, before it is killed


@dataclass(frozen=True)
class Work:
    """The parts that all children of a batch share.

    `launch` starts a child whose lines go to the given function. `job` is a child's first frame.
    """

    launch: Callable[[OnLine], Awaitable[Child]]
    job: dict[str, JSON]
    handle: Handler
    limits: JailLimits
    concurrency: int

    @property
    def out_of_time(self) -> str:
        return f"more than {self.limits.wall_seconds:g} s"


@dataclass(eq=False)
class ProblemCall:
    """One call of the workflow with its clock, its replies so far, and in the end its result."""

    index: int
    arguments: dict[str, JSON]
    left: float = 0.0
    result: JailRun | BaseException | None = None
    began: float = 0.0
    alone: bool = False
    asked: int = 0
    asked_bytes: int = 0
    pending: int = 0
    expired: bool = False
    replies: dict[bytes, list[asyncio.Task[dict[str, JSON]]]] = field(default_factory=dict)
    seen: Counter[bytes] = field(default_factory=Counter)
    timer: asyncio.TimerHandle | None = None
    since: float = 0.0

    def start_clock(self, expired: Callable[["ProblemCall"], None]) -> None:
        """Run the clock, and call `expired` when no time is left."""
        self.since = time.monotonic()
        self.timer = asyncio.get_running_loop().call_later(max(self.left, 0.0), expired, self)

    def stop_clock(self) -> None:
        """Stop the clock, or the grace period after it."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.left -= time.monotonic() - self.since

    def finish(self, outcome: Outcome, error: str = "", value: JSON = None) -> None:
        """Set the result."""
        self.result = JailRun(outcome, value, error, time.monotonic() - self.began)


@dataclass(eq=False)
class ChildSession:
    """One child's part of a batch: takes problems from `waiting`, and puts back the ones that its child cuts short."""

    work: Work
    waiting: deque[ProblemCall]
    _running: dict[int, ProblemCall] = field(default_factory=dict)
    _ready: bool = False
    _number: int = 0
    _stray: int = 0
    _blame: tuple[ProblemCall | None, Outcome, str] | None = None
    _bug: BaseException | None = None
    _over: bool = False

    async def run(self) -> None:
        """Serve the child until no problem waits, or the child has ended."""
        self._child = await self.work.launch(self._line)
        self._child.send(self.work.job)
        seconds = self.work.limits.wall_seconds
        self._load_timer = asyncio.get_running_loop().call_later(seconds, self._abort_late)
        try:
            ended = await self._child.ended()
        except asyncio.CancelledError:
            self._child.kill()
            raise
        finally:
            self._over = True
            self._load_timer.cancel()
            for problem in self._running.values():
                problem.stop_clock()
        if self._bug is not None:
            raise self._bug
        self._after(ended)

    # frames from the child

    def _line(self, line: bytes | None) -> None:
        if self._over:
            return
        try:
            if line is None:
                raise FrameError(f"a message of more than {self.work.limits.output_bytes} bytes")
            self._frame(unpack(line), len(line))
        except FrameError as error:
            self._abort(None, "violation", f"broker: {error}")
        except Exception as error:
            self._fail(error)

    def _frame(self, frame: dict[str, JSON], size: int) -> None:
        match frame:
            case {"ready": bool(ready)} if not self._ready:
                self._ready = True
                self._load_timer.cancel()
                if ready:
                    self._fill()
                else:
                    self._fail_all(frame)
            case {"id": int(number), "call": int(index), "operator": str(operator), "arguments": dict(arguments)}:
                self._number += 1
                if number != self._number or isinstance(number, bool):
                    raise FrameError(f"call id {number} where {self._number} was due")
                problem = self._running.get(index)
                if problem is not None and not problem.expired and problem.result is None:
                    self._asked(problem, number, operator[:64], arguments, size)
                else:
                    self._stray += 1  # a task may outlive its problem
                    if self._stray > self.work.limits.calls:
                        raise FrameError("calls for problems that are not running")
            case {"end": int(index), "outcome": str(outcome)}:
                problem = self._running.pop(index, None)
                if not self._ready or problem is None:
                    raise FrameError(f"the end of problem {index}, which is not running")
                self._ended(problem, outcome, frame)
            case _:
                raise FrameError("a message of unknown form")

    def _asked(self, problem: ProblemCall, number: int, operator: str, arguments: dict[str, JSON], size: int) -> None:
        limits = self.work.limits
        problem.asked += 1
        problem.asked_bytes += size
        if problem.asked > limits.calls or problem.asked_bytes > MESSAGES * limits.output_bytes:
            most = f"{limits.calls} operator calls or {MESSAGES * limits.output_bytes} bytes of them"
            self._abort(problem, "violation", f"broker: more than {most}")
            return
        key = sha256(json.dumps([operator, arguments], sort_keys=True).encode()).digest()
        replies = problem.replies.setdefault(key, [])
        if problem.seen[key] == len(replies):
            replies.append(asyncio.ensure_future(self.work.handle(problem.index, operator, arguments)))
        task = replies[problem.seen[key]]
        problem.seen[key] += 1
        problem.pending += 1
        problem.stop_clock()
        task.add_done_callback(lambda done: self._reply(problem, number, done))

    def _reply(self, problem: ProblemCall, number: int, task: "asyncio.Task[dict[str, JSON]]") -> None:
        if self._over or self._running.get(problem.index) is not problem or problem.result is not None:
            return
        problem.pending -= 1
        try:
            self._child.send({"id": number, **task.result()})
        except WorkflowError as error:
            self._child.send({"id": number, "error": short(error)})
        except (InfrastructureError, BudgetExhausted) as error:
            problem.result = error
            self._give_up(problem)
            return
        except (Exception, asyncio.CancelledError) as error:
            self._fail(error)
            return
        if not problem.pending:
            problem.start_clock(self._expired)

    def _ended(self, problem: ProblemCall, outcome: str, frame: dict[str, JSON]) -> None:
        problem.stop_clock()
        if problem.result is None:
            value, error = frame.get("value"), frame.get("error", "")
            if problem.expired:
                problem.finish("timeout", self.work.out_of_time)
            elif outcome == "ok" and isinstance(value, str):
                problem.finish("ok", value=value)
            elif outcome in ("crash", "violation") and isinstance(error, str):
                problem.finish("violation" if outcome == "violation" else "crash", short(error))
            else:
                self._running[problem.index] = problem
                raise FrameError("an end of unknown form")
        self._fill()

    def _fail_all(self, frame: dict[str, JSON]) -> None:
        """End every problem with one error, as the workflow could not be loaded."""
        said = frame.get("outcome")
        outcome: Outcome = said if said in ("violation", "timeout") else "crash"
        for problem in (*self._running.values(), *self.waiting):
            problem.began = problem.began or time.monotonic()
            problem.finish(outcome, short(frame.get("error", "the workflow could not be loaded")))
        self._running.clear()
        self.waiting.clear()
        self._child.kill()

    # problems to the child

    def _fill(self) -> None:
        """Start the problems that have a place. A suspect runs alone."""
        while self.waiting and len(self._running) < self.work.concurrency:
            if self._running and (self.waiting[0].alone or any(p.alone for p in self._running.values())):
                break
            problem = self.waiting.popleft()
            problem.began = time.monotonic()
            problem.left = self.work.limits.wall_seconds
            problem.asked = problem.asked_bytes = problem.pending = 0
            problem.expired = False
            problem.seen.clear()
            self._running[problem.index] = problem
            self._child.send({"run": problem.index, "arguments": problem.arguments})
            problem.start_clock(self._expired)
        if not self._running and not self.waiting:
            self._child.kill()

    def _expired(self, problem: ProblemCall) -> None:
        problem.expired = True
        self._give_up(problem)

    def _give_up(self, problem: ProblemCall) -> None:
        problem.stop_clock()
        self._child.send({"cancel": problem.index})
        problem.timer = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._abort_late)

    # the child's end

    def _abort_late(self) -> None:
        """Kill a child whose loop is busy. `_after` finds the problem that did it."""
        self._abort(None, "timeout", self.work.out_of_time)

    def _abort(self, problem: ProblemCall | None, outcome: Outcome, error: str) -> None:
        if not self._over:
            self._over = True
            self._blame = (problem, outcome, error)
            self._child.kill()

    def _fail(self, error: BaseException) -> None:
        """End the child for a bug of ours, which `run` raises."""
        self._over = True
        self._bug = error
        self._child.kill()

    def _after(self, ended: ChildEnd) -> None:
        """End the problem that caused the child's end, and put the others back.

        The board names the problem that had the processor at the end. It may be another one that broke the protocol,
        closed the pipe or blocked the loop. Then all suspects run again, each alone, until one ends its child.
        """
        if self._ready and not self._running:
            return
        culprit, outcome, error = self._blame or (None, *ended.verdict(self.work.limits.cpu_seconds))
        if not self._ready:
            self._fail_all({"outcome": outcome, "error": error})
            return
        running = list(self._running.values())
        guilty = culprit or self._running.get(ended.problem) or running[0]
        if self._blame is None:
            sure = ended.code != -signal.SIGKILL
        else:
            sure = culprit is not None or (outcome == "timeout" and guilty.expired)
        if sure or len(running) == 1:
            for problem in (*running, *self.waiting):
                problem.alone = problem.alone and not guilty.alone
            running.remove(guilty)
            if guilty.result is None:
                guilty.finish(outcome, error)
        else:
            for problem in running:
                problem.alone = outcome != "timeout" or problem.expired or problem is guilty
        self.waiting.extendleft(reversed([p for p in running if p.result is None]))


async def run_batch(work: Work, calls: Mapping[int, dict[str, JSON]]) -> dict[int, JailRun | BaseException]:
    """Return one result an index: a JailRun, or the handler's InfrastructureError or BudgetExhausted.

    Raises any other exception of the handler but WorkflowError, and InfrastructureError when no child starts. Waits for
    requests that the handler has begun, unless it is cancelled.
    """
    problems = [ProblemCall(index, arguments) for index, arguments in calls.items()]
    waiting = deque(problems)

    def requests() -> "list[asyncio.Task[dict[str, JSON]]]":
        return [task for problem in problems for tasks in problem.replies.values() for task in tasks]

    try:
        while waiting:
            await ChildSession(work, waiting).run()
    except asyncio.CancelledError:
        for task in requests():
            task.cancel()
        raise
    finally:  # a request under way is paid for, and has to be recorded
        await asyncio.gather(*requests(), return_exceptions=True)
    return {problem.index: problem.result for problem in problems if problem.result is not None}
