# SPDX-License-Identifier: Apache-2.0
"""Time a thousand concurrent sessions at the owner of a run's files: `python -m recipe.bench.shared [EVALUATIONS]`.

SIMULATED sessions have no executor, sandbox or policy. They only ask and tell, by the actor and line of agent loops
(aflow_env/training/nodes/owner.py, line.py), with records of real size.

    ask    read the experience of the workflow that is expanded: 1 request
    tell   take the workflow's turn, look for 20 results, store them, read them back, append the node, hand the turn
           back: 6 requests, 20 evaluations
    call   one LLM call as the executor's client makes it: look in the log, reserve, keep, settle: 4 requests

`busy` is the share of a core that the owner used (of the busiest, where there are two). `/core` counts requests in a
second of the owner's processor time: its limit with a core of its own, as an owner is one thread. Rows without a pause
are closed loops and show the throughput of this machine, whose processors the clients use, too. Rows with a pause show
the waiting time below that. The files are in the temporary directory and are removed; about 0.5 GB for the default of
1,000,000 evaluations. Run it on an idle machine; about 4 minutes on two cores.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import ray
from rich.console import Console
from rich.table import Table

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.llm.budget import Ceiling, Spend
from aflow_env.llm.client import Completion, Message, Request
from aflow_env.store.node_rows import Node
from aflow_env.store.shared import Parts
from aflow_env.store.store import SessionKey
from aflow_env.training.nodes.owner import parts_of, start
from aflow_env.workflow.program import Workflow

PROBLEMS = 20
WORKERS = 2
"""Client processes, each with its line, as agent loop workers are."""
QUESTION = Request(messages=(Message(role="user", content="What is asked of a model. " * 80),), model="SIMULATED")
ANSWER = Completion(text="What it answers. " * 30, model="SIMULATED", input_tokens=500, output_tokens=120)
WORST, ACTUAL, CEILING = Spend(1000, 2000, 1), Spend(300, 620, 1), Ceiling(picos=10**18)


def evaluated(round_: int, draw: Random) -> Node:
    """Return a made-up evaluated workflow, about as long as a real one."""
    digest = f"{draw.getrandbits(64):016x}"
    results = [
        ProblemResult(
            problem_id=f"problem-{i}",
            repeat=0,
            outcome=Outcome.CORRECT,
            score=1.0,
            answer="Some reasoning, step by step. " * 6 + "The answer is 42.",
            seconds=1.5,
            cost_usd=0.001,
            input_tokens=900,
            output_tokens=300,
            calls=2,
            problem_digest=f"{i:016x}",
        )
        for i in range(PROBLEMS)
    ]
    workflow = Workflow(f"# {digest}\n" + "x = 1\n" * 150, 'PROMPT = """Think."""')
    parent = None if round_ == 1 else 1
    return Node(round_, parent, workflow, summarise(digest, "e" * 16, results), f"change {round_}")


@dataclass
class Times:
    """Seconds of each request group, by name, in the order in which they ended."""

    asks: list[float] = field(default_factory=list)
    tells: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)


async def timed(seconds: list[float], what: Awaitable[Any]) -> None:
    """Wait for it, and note how long that took."""
    began = time.perf_counter()
    await what
    seconds.append(time.perf_counter() - began)


async def record(parts: Parts, key: SessionKey, node: Node) -> None:
    """Ask and record as the evaluator and the loop do for an evaluation."""
    evaluation = node.evaluation
    keys = [(each.problem_digest, each.repeat) for each in evaluation.results]
    async with parts.turn(node.digest):
        await parts.store.get_many(node.digest, evaluation.executor_key, keys)
        await parts.store.put_many(node.digest, evaluation.executor_key, evaluation.results)
        await parts.store.get_many(node.digest, evaluation.executor_key, keys)
    await parts.store.record(key, node)


async def session(parts: Parts, name: str, rounds: int, pause: float, times: Times) -> None:
    """Play a search with made-up evaluations."""
    draw, key = Random(name), SessionKey(name)
    await asyncio.sleep(draw.uniform(0, pause))
    await parts.store.open_session(key, "bench")
    parent = ""
    for round_ in range(1, rounds + 1):
        node = evaluated(round_, draw)
        parent = parent or node.evaluation.digest
        await timed(times.asks, parts.store.experience("bench", parent, key, 6))
        await timed(times.tells, record(parts, key, node))
        await asyncio.sleep(draw.uniform(0.5, 1.5) * pause)


async def llm_calls(parts: Parts, name: str, rounds: int, pause: float, times: Times) -> None:
    """Play a session's executor calls alone."""

    async def call(key: str) -> None:
        await parts.store.get(key)
        ticket = await parts.ledger.reserve(WORST, CEILING, 60.0)
        assert ticket is not None
        await parts.store.put(key, QUESTION, ANSWER)
        await parts.ledger.settle(ticket, ACTUAL)

    for number in range(rounds):
        await timed(times.calls, call(f"{name}/{number}"))


Play = Callable[[Parts, str, int, float, Times], Awaitable[None]]


@ray.remote(num_cpus=1)
class Crowd:
    """A client process: some of the sessions."""

    def __init__(self, owners: Sequence[Any], configs: Sequence[AflowConfig]) -> None:
        self._make = lambda: [parts_of(owner, config) for owner, config in zip(owners, configs, strict=True)]

    async def play(self, play: Play, names: Sequence[str], rounds: int, pause: float) -> Times:
        """Sessions go to the owners in turn, each as a whole to one."""
        parts, times = self._make(), Times()
        await asyncio.gather(*(play(parts[i % len(parts)], name, rounds, pause, times) for i, name in enumerate(names)))
        return times


@dataclass(frozen=True)
class Used:
    """Processor seconds of an owner so far, and its memory in MB."""

    seconds: float
    memory: float


def used(owner: Any) -> Used:
    """Asked of the owner's process itself."""

    def look(_: Any) -> Used:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Used(time.process_time(), pages * 4096 / 1e6)

    found: Used = ray.get(owner.__ray_call__.remote(look))
    return found


@dataclass
class Bench:
    """Owners over files in `folder`, and the crowd that asks them."""

    base: AflowConfig
    folder: Path
    shards: int

    def __post_init__(self) -> None:
        self.configs = [
            self.base.model_copy(update={"run_dir": str(self.folder / f"owner-{number}"), "shared": "ray"})
            for number in range(self.shards)
        ]
        self.owners = [start(config) for config in self.configs]
        self.crowd = [Crowd.remote(self.owners, self.configs) for _ in range(WORKERS)]
        self.run(session, "warm", WORKERS, 1, 0.0)

    def run(self, play: Play, name: str, sessions: int, rounds: int, pause: float) -> tuple[Times, float, float, float]:
        """Times of all; wall seconds; the busiest owner's share of a core; memory of the largest owner."""
        names = [f"{name}-{number}" for number in range(sessions)]
        before, began = [used(owner) for owner in self.owners], time.perf_counter()
        parts = ray.get([each.play.remote(play, names[i::WORKERS], rounds, pause) for i, each in enumerate(self.crowd)])
        wall = time.perf_counter() - began
        after = [used(owner) for owner in self.owners]
        busy = max(now.seconds - then.seconds for then, now in zip(before, after, strict=True)) / wall
        times = Times(*(list(chain(*(getattr(part, kind) for part in parts))) for kind in ("asks", "tells", "calls")))
        return times, wall, busy, max(each.memory for each in after)

    def close(self) -> None:
        """End the processes."""
        for actor in (*self.owners, *self.crowd):
            ray.kill(actor)


def milliseconds(seconds: Sequence[float]) -> str:
    """Median and 99th percentile."""
    return " / ".join(f"{value * 1e3:,.1f}" for value in np.percentile(seconds, (50, 99)))


def rates(done: int, wall: float, busy: float, owners: int) -> tuple[str, str, str]:
    """How many, how many a second, and how many in a second of an owner's processor time."""
    return f"{done:,}", f"{done / wall:,.0f}", f"{done / owners / (busy * wall):,.0f}"


def add(table: Table, *cells: str) -> None:
    """Add a row and print it at once; tables come at the end."""
    table.add_row(*cells)
    print(*cells, sep=" | ", file=sys.stderr, flush=True)


def main(evaluations: int) -> None:
    """The table."""
    grid = Table(*("sessions", "owners", "pause s", "evals", "evals/s", "/core", "ask ms", "tell ms", "busy", "MB"))
    llm = Table(*("calls at a time", "owners", "calls", "calls/s", "/core", "call ms", "busy"))

    def row(bench: Bench, name: str, sessions: int, rounds: int, pause: float = 0.0) -> float:
        times, wall, busy, memory = bench.run(session, name, sessions, rounds, pause)
        done = len(times.tells) * PROBLEMS
        rate = done / wall
        figures = *rates(done, wall, busy, bench.shards), milliseconds(times.asks), milliseconds(times.tells)
        pace = f"{pause:.1f}" if pause else "-"
        add(grid, f"{sessions:,}", str(bench.shards), pace, *figures, f"{busy:.0%}", f"{memory:,.0f}")
        return rate

    def llm_row(bench: Bench, sessions: int, calls: int) -> None:
        times, wall, busy, _ = bench.run(llm_calls, f"llm{sessions}", sessions, calls // sessions, 0.0)
        done = len(times.calls)
        figures = *rates(done, wall, busy, bench.shards), milliseconds(times.calls), f"{busy:.0%}"
        add(llm, f"{sessions:,}", str(bench.shards), *figures)

    base = load(("rl_weight=0", "q.kind=none", "proposer=random"))
    whole = max(1, evaluations // (1000 * PROBLEMS))
    small = max(1, whole // 10)
    ray.init(address="local", num_cpus=8, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        one = Bench(base, Path(folder) / "one", 1)
        row(one, "ten", 10, 100 * small)
        row(one, "hundred", 100, 10 * small)
        row(one, "thousand", 1000, small)
        most = row(one, "all", 1000, whole)
        for share in (0.5, 0.8):
            row(one, f"paced{share}", 1000, small, pause=1000 * PROBLEMS / (share * most))
        for at_a_time in (16, 128):
            llm_row(one, at_a_time, 2000 * small)
        one.close()
        two = Bench(base, Path(folder) / "two", 2)
        row(two, "shards", 1000, small)
        llm_row(two, 128, 2000 * small)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.sqlite")) / 1e6
        two.close()
    ray.shutdown()
    grid.title, llm.title = "SIMULATED sessions; ask and tell: median / p99", "LLM calls through log and ledger"
    grid.caption = f"{WORKERS} client processes; files: {size:,.0f} MB"
    for table in (grid, llm):
        Console(width=110).print(table)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
