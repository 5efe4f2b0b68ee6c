# SPDX-License-Identifier: Apache-2.0
"""The sandbox runs workflows, Programmer's code and solutions against tests, each in a jailed child.

A child is forked from a warm zygote, confined, and used for one job. The parent never imports, executes or unpickles
anything that came from a model.
"""

import asyncio
import contextlib
import json
import logging
import platform
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from aflow_env.errors import ConfigError
from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.conversation import Handler, Work, run_batch
from aflow_env.sandbox.jail.wire import JSON
from aflow_env.sandbox.kernel import confine
from aflow_env.sandbox.once import Once
from aflow_env.sandbox.worker import JailRun, Worker

if TYPE_CHECKING:
    from aflow_env.workflow.program import Workflow
log = logging.getLogger(__name__)
Mode = Literal["auto", "strict", "off"]


class Sandbox:
    """Jailed children for one event loop. It is an async context manager that leaves no process and no file behind.

    mode: "strict" raises ConfigError without Landlock or seccomp. "auto" uses the layers of this machine. "off" limits
    resources alone, and warns. workers: workflows at a time, and as many code or test runs. concurrency: problems of
    one workflow side by side.
    """

    def __init__(
        self, mode: Mode = "auto", limits: JailLimits | None = None, workers: int = 2, concurrency: int = 50
    ) -> None:
        self.mode = mode
        self.limits = limits or JailLimits()
        self.layers: tuple[str, ...] = ()
        self.wanted = confine.LAYERS if mode != "off" else ("limits",)
        self._concurrency = concurrency
        self._workflows = asyncio.Semaphore(workers)
        self._codes = asyncio.Semaphore(workers)
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()

    async def __aenter__(self) -> Self:
        async with self._worker() as worker:
            self.layers = ("process", *worker.layers)
        missing = [name for name in ("landlock", "seccomp") if not any(layer.startswith(name) for layer in self.layers)]
        if self.mode == "strict" and missing:
            await self.__aexit__()
            raise ConfigError(
                f"sandbox=strict: no {' and no '.join(missing)} on this machine ({platform.platform(terse=True)}). Run "
                "on Linux 5.13 or later, in a container whose seccomp profile allows landlock_* and seccomp, or set "
                f"sandbox=auto to run with {', '.join(self.layers)}."
            )
        if self.mode == "off":
            log.warning("sandbox=off: generated code can read and send whatever this user can; layers: %s", self.layers)
        elif missing:
            log.warning("this machine has no %s; the sandbox is weaker: %s", " and no ".join(missing), self.layers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(worker.close() for worker in self._all))
        self._all.clear()
        self._idle.clear()

    async def run_workflow(
        self, workflow: "Workflow", calls: Sequence[dict[str, JSON]], handle: Handler
    ) -> list[JailRun | BaseException]:
        """Call the workflow with each of the keyword arguments in `calls`. Operator calls go to `handle`.

        Returns one result a call, in order: a JailRun (`value` is the answer as text), or the InfrastructureError or
        BudgetExhausted with which the handler ended that problem. A WorkflowError of the handler becomes an exception
        of the operator call in the workflow. Any other exception of the handler is raised here. Equal calls, which
        repeat a problem, get a child each, so a workflow cannot carry a reply from one repeat to the next.
        """
        job: dict[str, JSON] = {
            "kind": "workflow",
            "graph": workflow.graph,
            "prompts": workflow.prompts,
            "cap": self.limits.output_bytes,
            "step_seconds": self.limits.cpu_seconds,
        }
        seen: Counter[str] = Counter()
        groups: dict[int, dict[int, dict[str, JSON]]] = {}  # no group has two equal calls
        for place, call in enumerate(calls):
            key = json.dumps(call, sort_keys=True)
            groups.setdefault(seen[key], {})[place] = call
            seen[key] += 1
        results: dict[int, JailRun | BaseException] = {}

        async def run_apart(group: dict[int, dict[str, JSON]]) -> None:
            limits = self._limits(self.limits.cpu_seconds * (len(group) + 1))
            async with self._workflows, self._worker() as worker:
                launch = partial(worker.launch, limits, self.limits.output_bytes)
                work = Work(launch, job, handle, self.limits, self._concurrency)
                results.update(await run_batch(work, group))

        tasks = [asyncio.create_task(run_apart(group)) for group in groups.values()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [results[place] for place in range(len(calls))]

    async def run_code(self, code: str, function: str, arguments: list[JSON], seconds: float) -> JailRun:
        """Execute `code` and call its `function(*arguments)` within `seconds`. `value` is the result's text, cut."""
        async with self._codes, self._worker() as worker:
            return await self._once(seconds).call(worker, code, function, arguments)

    async def run_tests(self, solution: str, tests: str, entry_point: str, seconds: float) -> JailRun:
        """Execute `tests` on `entry_point` of `solution`, then their `check(candidate)` if defined. `ok`: all passed.

        A failed assertion is a `crash` with AssertionError. An error that begins with "Refused" names a value or an
        operation that cannot cross: solution and tests run in separate children (exam.py). Raises ConfigError for tests
        that no solution could pass, or every one would.
        """
        async with self._codes, self._worker() as one, self._worker() as other:
            return await self._once(seconds).test(one, other, solution, tests, entry_point)

    def _once(self, seconds: float) -> Once:
        return Once(self._limits(int(seconds) + 1), self.limits.output_bytes, seconds)

    def _limits(self, cpu_seconds: int) -> dict[str, Any]:
        memory, disk = self.limits.memory_mb << 20, self.limits.disk_mb << 20
        limits = {"AS": memory, "CPU": cpu_seconds, "FSIZE": disk, "NOFILE": 64, "CORE": 0, "MEMLOCK": 0}
        return {
            "disk_bytes": disk,
            "threads": self.limits.threads,
            "limits": {f"RLIMIT_{name}": value for name, value in limits.items()},
        }

    @contextlib.asynccontextmanager
    async def _worker(self) -> AsyncIterator[Worker]:
        """Yield an idle zygote, or a new one. One that was interrupted in its job, or died, is not used again."""
        while self._idle and not self._idle[-1].alive:
            await self._discard(self._idle.pop())
        worker = self._idle.pop() if self._idle else await Worker.start(self.wanted)
        self._all.add(worker)
        try:
            yield worker
        except BaseException:
            await self._discard(worker)
            raise
        self._idle.append(worker)

    async def _discard(self, worker: Worker) -> None:
        self._all.discard(worker)
        await worker.close()
