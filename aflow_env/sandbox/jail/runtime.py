# SPDX-License-Identifier: Apache-2.0
"""A workflow inside the jail: AFlow's modules, and the event loop that runs problems side by side.

AFlow's own workflows run unmodified: `workspace.<DATASET>.workflows.template.operator`,
`workspace.<DATASET>.workflows.round_<N>.prompt`, `scripts.async_llm`, `scripts.operators` and `scripts.evaluator` exist
only in the child's memory. An operator is a stub whose name and arguments `ask` sends to the parent.

One problem is one asyncio task and the tasks that it starts. Each step of such a task first writes its problem's number
to the board (memory that the zygote shares) and starts a processor timer. The kernel ends a step that never yields
(SIGPROF), even inside C code, and the board names its problem. Standard library only.
"""

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextvars import ContextVar
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from inspect import Parameter, Signature
from types import ModuleType
from typing import Any, Literal

from aflow_env.sandbox.jail.wire import JSON, Link, failure, load

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""(operator, arguments) -> the parent's reply {"result": {...}, "cost_usd": float}."""

DatasetType = Literal["HumanEval", "MBPP", "GSM8K", "MATH", "HotpotQA", "DROP", "LiveCodeBench"]

_REQUIRED = Parameter.empty
SIGNATURES: dict[str, dict[str, Any]] = {  # operator -> argument -> default
    "Custom": {"input": _REQUIRED, "instruction": _REQUIRED},
    "AnswerGenerate": {"input": _REQUIRED},
    "CustomCodeGenerate": {"problem": _REQUIRED, "entry_point": _REQUIRED, "instruction": _REQUIRED},
    "ScEnsemble": {"solutions": _REQUIRED, "problem": ""},
    "Vote": {"solutions": _REQUIRED},
    "Select": {"solutions": _REQUIRED, "entry_point": _REQUIRED},
    "MdEnsemble": {"solutions": _REQUIRED, "problem": ""},
    "Programmer": {"problem": _REQUIRED, "analysis": "None"},
    "Test": {"problem": _REQUIRED, "solution": _REQUIRED, "entry_point": _REQUIRED, "test_loop": 3},
    "Format": {"problem": _REQUIRED, "solution": _REQUIRED},
    "Review": {"problem": _REQUIRED, "solution": _REQUIRED},
    "Revise": {"problem": _REQUIRED, "solution": _REQUIRED, "feedback": _REQUIRED},
}


class StubLLM:
    """The result of `create_llm_instance`. It records the cost of the calls made through it, and can be called."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.calls: list[float] = []

    async def request(self, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        reply = await self._ask(operator, arguments)
        self.calls.append(float(reply.get("cost_usd", 0.0)))
        result: dict[str, Any] = reply["result"]
        return result

    async def __call__(self, prompt: str) -> str:
        return str((await self.request("LLM", {"prompt": prompt}))["response"])

    def get_usage_summary(self) -> dict[str, Any]:
        return {"total_cost": sum(self.calls), "call_count": len(self.calls), "history": []}


class Stub:
    """The base of every operator. `name` is the operator that the parent calls."""

    name = "Operator"
    signature: Signature | None = None

    def __init__(self, llm: StubLLM, name: str | None = None) -> None:
        self.llm = llm

    async def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if self.signature is None:
            if args:
                raise TypeError(f"{self.name} takes keyword arguments only")
            return await self.llm.request(self.name, kwargs)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return await self.llm.request(self.name, bound.arguments)


def _operator(name: str, parameters: dict[str, Any] | None) -> type[Stub]:
    kind = Parameter.POSITIONAL_OR_KEYWORD
    signature = parameters and Signature([Parameter(p, kind, default=d) for p, d in parameters.items()])
    return type(name, (Stub,), {"name": name, "signature": signature})


class Modules(MetaPathFinder, Loader):
    """An import hook that makes AFlow's modules. `prompts` is the text of prompt.py."""

    def __init__(self, prompts: str, ask: Ask) -> None:
        self._prompts = prompts
        self._ask = ask
        self._operators = {name: _operator(name, parameters) for name, parameters in SIGNATURES.items()}

    def install(self) -> None:
        sys.meta_path.insert(0, self)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        ours = fullname.split(".")[0] in ("workspace", "scripts")
        return ModuleSpec(fullname, self, is_package=True) if ours else None

    def exec_module(self, module: ModuleType) -> None:
        names = module.__dict__
        match module.__name__.split("."):
            case ["workspace", _, "workflows", _, "prompt"]:
                exec(compile(self._prompts, "prompt.py", "exec"), names)
            case ["workspace", _, "workflows", "template", "operator"] | ["scripts", "operators"]:
                names.update(self._operators, Operator=Stub, __getattr__=self._unknown)
            case ["scripts", "async_llm"]:
                names["create_llm_instance"] = names["AsyncLLM"] = lambda config: StubLLM(self._ask)
            case ["scripts", "evaluator"]:
                names["DatasetType"] = DatasetType
            case ["scripts", name, *_]:
                raise ModuleNotFoundError(f"scripts.{name} is not available to a workflow", name=module.__name__)

    def _unknown(self, name: str) -> type[Stub]:
        """Make an operator that only the parent may know. The parent checks its keyword arguments."""
        if not name[:1].isupper():
            raise AttributeError(f"module 'operator' has no attribute {name!r}")
        return self._operators.setdefault(name, _operator(name, None))


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
            self._link.send({"end": index, "outcome": "ok", "value": str(answer)})
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
