# SPDX-License-Identifier: Apache-2.0
"""What the tests of tasks share: a config in one line, and a runner of trusted test code in a fresh process."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from aflow_env.config import TaskConfig
from aflow_env.sandbox.pool import Sandbox
from aflow_env.tasks import Problem
from aflow_env.workflow.operators import CodeResult, OperatorContext, call_operator


def config(
    name: str, path: Path | None = None, *, train: int = 20, validate: int = 20, test: int = 20, **options: object
):
    """A TaskConfig; keyword arguments beyond the sizes are `task.options`."""
    return TaskConfig(
        name=name,
        path=None if path is None else str(path),
        train_size=train,
        validate_size=validate,
        test_size=test,
        options=options,
    )


@dataclass(frozen=True)
class PlainRun:
    outcome: str
    error: str = ""


async def run_plainly(solution: str, tests: str, entry_point: str, seconds: float) -> PlainRun:
    """What the sandbox's run_tests does, without confinement: for the solutions that stand in these tests."""
    program = f"{solution}\ncandidate = {entry_point}\n{tests}\n"
    program += "check(candidate)\n" if "def check(" in tests else ""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, error = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        return PlainRun("timeout")
    return PlainRun("crash" if process.returncode else "ok", error.decode())


async def accepted(sandbox: Sandbox, problem: Problem, solution: str) -> bool:
    """Whether the operator Test lets a solution of the problem pass, without a question to a model."""

    async def ask(prompt: str, fields: tuple[str, ...]) -> str:
        return ""

    async def run_code(code: str, function: str, arguments: list[JsonValue], seconds: float) -> CodeResult:
        run = await sandbox.run_code(code, function, arguments, seconds)
        return CodeResult(run.outcome, run.value, run.error)

    context = OperatorContext(ask, run_code, problem.public_tests, problem.entry_point, prelude=problem.prelude)
    call: dict[str, JsonValue] = {"problem": problem.prompt, "solution": solution, "entry_point": problem.entry_point}
    return bool((await call_operator("Test", {**call, "test_loop": 1}, context))["result"])


async def no_code(solution: str, tests: str, entry_point: str, seconds: float) -> PlainRun:
    """For tasks that have no business running code."""
    raise AssertionError("this task must not run code")
