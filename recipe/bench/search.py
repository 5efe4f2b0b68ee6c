# SPDX-License-Identifier: Apache-2.0
"""Measure the cost of a search beside the model: `python -m recipe.bench.search [--concurrency 16 50 100]`.

A whole search of 20 rounds x 50 problems x 3 calls (the start workflow's evaluation is the first round), as
`aflow-env search` runs one: real store, ledger, sandbox and OpenAI client with mode=record, against a SIMULATED
chat-completions server in a process of its own that answers after 200 ms (stub.py). Each round sets one prompt of a
workflow of three Custom steps, so no call repeats another and every round asks for all its calls.

    wall     from opening the run to closing it; x ideal: over calls x latency / places, where places is what can be in
             flight at a time: the least of `concurrency` and the problems, since a problem asks one thing at a time
    cpu      user + system time of this process and its children, not the server's, over the calls; `sandbox` is the
             children's part. Importing is no part of it.

Beside it, requests of the same kind without a search: by aiohttp alone, by our client without its layers
(llm/providers/openai.py), and by OpenAI's official SDK, which we do not use, where it is installed. Wall-clock
figures: run it on an idle machine.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table

from aflow_env.cli.arguments import ONE_BY_ONE
from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig, LLMConfig
from aflow_env.llm.client import Message, Request
from aflow_env.llm.keys import NO_KEY
from aflow_env.llm.prices import FREE
from aflow_env.llm.providers.openai import OpenAIClient
from aflow_env.search.assemble import Assembly
from aflow_env.search.proposals.proposal import Proposal, State
from aflow_env.search.session import SearchProblem, session_seed
from aflow_env.store.store import SessionKey
from aflow_env.workflow.edits import Edit, EditParameters, format_edit
from aflow_env.workflow.steps import Step, to_workflow
from recipe.bench.stub import MODEL, serving

LATENCY = 0.2
WALL_LIMIT = 1.3  # x ideal
CPU_LIMIT = 1.0  # ms a call
CALLS = 3  # of a problem


class NewPrompts:
    """Proposes a prompt that no round had before."""

    def __init__(self) -> None:
        self._proposed = 0

    async def propose(self, state: State, seed: int) -> Proposal:
        self._proposed += 1
        instruction = EditParameters(instruction=f"Instruction number {self._proposed}: solve it step by step.")
        return Proposal(format_edit(Edit(operation="set_prompt", position=1, parameters=instruction)))


@dataclass(frozen=True)
class Figures:
    """One search, measured; seconds, and milliseconds of processor time a call."""

    concurrency: int
    calls: int
    wall: float
    ideal: float
    cpu_ms: float
    sandbox_ms: float


def processor_seconds(who: int) -> float:
    """User and system time of this process, or of its children that have ended."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def configuration(url: str, folder: Path, rounds: int, problems: int, concurrency: int) -> AflowConfig:
    """Return the config of the measured search."""
    return load(
        [
            "executor=openai", f"executor.base_url={url}", f"executor.model={MODEL}", "executor.prices=free",
            f"executor.concurrency={concurrency}", *ONE_BY_ONE, f"rounds={rounds - 1}", f"run_dir={folder}",
            f"task.validate_size={problems}", "task.test_size=5",
        ]
    )  # fmt: skip


async def search(config: AflowConfig) -> int:
    """Play the search; how many calls were paid for."""
    assembly = await Assembly.open(config)
    try:
        start = to_workflow([Step("Custom", f"Part {part}.") for part in (1, 2, 3)], assembly.task.spec)
        key = SessionKey(assembly.task.spec.name, config.seed)
        problem = SearchProblem(key, session_seed(config.seed), start)
        session = await assembly.search(NewPrompts(), None, "validate").play(problem)
        assert len(session.tree) == config.rounds + 1, session.stopped
        return assembly.budget.totals.certain.calls
    finally:
        await assembly.aclose()


def measure(url: str, rounds: int, problems: int, concurrency: int) -> Figures:
    """Run one search from an empty folder to its end."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(url, Path(folder), rounds, problems, concurrency)
        before, clock = [processor_seconds(who) for who in both], time.perf_counter()
        calls = asyncio.run(search(config))
        wall = time.perf_counter() - clock
        own, children = (processor_seconds(who) - was for who, was in zip(both, before, strict=True))
    assert calls == rounds * problems * CALLS, calls
    ideal = calls * LATENCY / min(concurrency, problems)
    return Figures(concurrency, calls, wall, ideal, (own + children) / calls * 1e3, children / calls * 1e3)


async def client_milliseconds(ask: Callable[[], Awaitable[object]], calls: int, concurrency: int) -> float:
    """Processor time a call of a bare client, connections made before."""
    places = asyncio.Semaphore(concurrency)

    async def one() -> None:
        async with places:
            await ask()

    await asyncio.gather(*(one() for _ in range(concurrency)))
    began = time.process_time()
    await asyncio.gather(*(one() for _ in range(calls)))
    return (time.process_time() - began) / calls * 1e3


async def bare_clients(url: str, calls: int, concurrency: int) -> dict[str, float]:
    """Milliseconds of processor time a call, by client."""
    text = "Natalia sold clips to 48 of her friends in April, how many? " * 6
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 1024, "temperature": 0.0}
    request = Request(messages=(Message(role="user", content=text),), model=MODEL)
    ours = OpenAIClient(LLMConfig(kind="openai", base_url=url, model=MODEL), FREE, NO_KEY, seed=0)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))

        async def by_aiohttp() -> None:
            async with session.post(f"{url}/chat/completions", json=body) as response:
                await response.read()

        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "aiohttp alone": by_aiohttp,
            "our client": lambda: ours.complete(request),
        }
        stack.push_async_callback(ours.aclose)
        if find_spec("openai"):
            sdk = import_module("openai").AsyncOpenAI(api_key="none", base_url=url, max_retries=0)
            await stack.enter_async_context(sdk)
            ways["OpenAI's SDK"] = lambda: sdk.chat.completions.create(**body)
        return {name: await client_milliseconds(ask, calls, concurrency) for name, ask in ways.items()}


def table(figures: list[Figures], rounds: int, problems: int) -> Table:
    """Return the searches, one a row."""
    grid = Table(title=f"{rounds} rounds x {problems} problems x {CALLS} calls, SIMULATED server, {LATENCY * 1e3:g} ms")
    for column in ("concurrency", "calls", "wall s", "ideal s", "x ideal", "cpu ms/call", "sandbox ms/call"):
        grid.add_column(column, justify="right")
    for each in figures:
        wall, ratio = f"{each.wall:.1f}", each.wall / each.ideal
        cpu = f"{each.cpu_ms:.2f}{'' if each.cpu_ms < CPU_LIMIT else ' OVER'}"
        grid.add_row(
            str(each.concurrency), f"{each.calls:,}", wall, f"{each.ideal:.1f}",
            f"{ratio:.2f}{'' if ratio <= WALL_LIMIT else ' OVER'}", cpu, f"{each.sandbox_ms:.2f}",
        )  # fmt: skip
    grid.caption = f"limits: {WALL_LIMIT} x ideal, {CPU_LIMIT:g} ms of processor time a call"
    return grid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--problems", type=int, default=50)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 25, 50])
    chosen = parser.parse_args()
    console = Console(width=100)
    with serving(LATENCY) as url:
        figures = [measure(url, chosen.rounds, chosen.problems, places) for places in chosen.concurrency]
        console.print(table(figures, chosen.rounds, chosen.problems))
        grid = Table("client, 50 at a time, no search", "cpu ms/call")
        for name, milliseconds in asyncio.run(bare_clients(url, 1000, 50)).items():
            grid.add_row(name, f"{milliseconds:.2f}")
        console.print(grid)


if __name__ == "__main__":
    main()
