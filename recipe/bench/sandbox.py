# SPDX-License-Identifier: Apache-2.0
"""Measure the cost of the sandbox: `python recipe/bench/sandbox.py`.

Each figure is a median of interleaved measurements on the machine as it is, and is printed with its limit:
    start      a jailed child from the request to the answer and its removal, against a bare `python -I -c pass`
    problem    a workflow of two operator calls over 100 problems: sandbox minus the same workflow in this process
    call       one operator call through the broker and back, one after another: sandbox minus in this process
The handler answers at once, so the figures are the sandbox's own. Exit status 1 when one is over its limit.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.jail.runtime import Modules
from aflow_env.sandbox.pool import Sandbox
from aflow_env.sandbox.worker import JailRun, interpreter

GRAPH = """
import workspace.GSM8K.workflows.template.operator as operator
import workspace.GSM8K.workflows.round_1.prompt as prompt_custom
from scripts.async_llm import create_llm_instance

class Workflow:
    def __init__(self, name, llm_config, dataset):
        self.llm = create_llm_instance(llm_config)
        self.custom = operator.Custom(self.llm)

    async def __call__(self, problem):
        for _ in range(CALLS):
            answer = await self.custom(input=problem, instruction=prompt_custom.SOLVE)
        return answer["response"], self.llm.get_usage_summary()["total_cost"]
"""
PROBLEM = "Natalia sold clips to 48 of her friends in April, and then half as many in May. How many altogether? " * 5
PROBLEMS = 100
CALLS = 500


@dataclass(frozen=True)
class Program:
    graph: str
    prompts: str = 'SOLVE = "Solve it step by step."'


async def handle(index: int, operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"result": {"response": "72" * 100}, "cost_usd": 0.001}


def program(calls: int) -> Program:
    return Program(GRAPH.replace("CALLS", str(calls)))


async def in_process(workflow: Program, problems: int) -> None:
    """Run the same text and stubs in this process, for comparison."""

    async def ask(operator: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return await handle(0, operator, arguments)

    modules = Modules(workflow.prompts, ask)
    modules.install()
    try:
        names: dict[str, Any] = {}
        exec(workflow.graph, names)
        await asyncio.gather(*(names["Workflow"]("", {}, "")(PROBLEM) for _ in range(problems)))
    finally:
        sys.meta_path.remove(modules)


async def jailed(sandbox: Sandbox, workflow: Program, problems: int) -> None:
    runs = await sandbox.run_workflow(workflow, [{"problem": f"{i}. {PROBLEM}"} for i in range(problems)], handle)
    failed = [run for run in runs if not isinstance(run, JailRun) or run.outcome != "ok"]
    assert not failed, failed[0]


async def bare(executable: str) -> None:
    process = await asyncio.create_subprocess_exec(executable, "-I", "-c", "pass", stdin=subprocess.DEVNULL)
    await process.wait()


async def medians(rounds: int, *works: Callable[[], Awaitable[object]]) -> list[float]:
    """Median seconds of each, measured in turn so that the machine's mood falls on all alike."""
    for work in works:
        await work()
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for times, work in zip(taken, works, strict=True):
            began = time.perf_counter()
            await work()
            times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in taken]


async def main(rounds: int) -> int:
    began = time.perf_counter()
    async with Sandbox(limits=JailLimits(calls=CALLS)) as sandbox:
        cold = time.perf_counter() - began
        print("layers:", ", ".join(sandbox.layers))
        start, python = await medians(
            4 * rounds,
            lambda: sandbox.run_code("def solve(): return 1", "solve", [], 10.0),
            lambda: bare(interpreter()),
        )
        two = program(2)
        batch, here = await medians(rounds, lambda: jailed(sandbox, two, PROBLEMS), lambda: in_process(two, PROBLEMS))
        many = program(CALLS)
        calls, direct = await medians(rounds, lambda: jailed(sandbox, many, 1), lambda: in_process(many, 1))
    figures = [
        ("start", start / python, 1.5, f"x bare python ({1e3 * start:.1f} ms against {1e3 * python:.1f} ms)"),
        ("problem", 1e3 * (batch - here) / PROBLEMS, 2.0, f"ms more than in-process, over {PROBLEMS} problems"),
        ("call", 1e3 * (calls - direct) / CALLS, 0.3, f"ms more than in-process, {CALLS} calls one after another"),
    ]
    print(f"{'cold':8} {1e3 * cold:7.3f} ms for the first zygote, once a worker; no limit")
    for name, value, limit, what in figures:
        print(f"{name:8} {value:7.3f} {what}; limit {limit:g}: {'ok' if value <= limit else 'OVER'}")
    return int(any(value > limit for _, value, limit, _ in figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="measurements of each, default 11")
    sys.exit(asyncio.run(main(parser.parse_args().rounds)))
