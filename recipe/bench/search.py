# SPDX-License-Identifier: Apache-2.0
"""What a search costs beside the model: `python -m recipe.bench.search [--concurrency 16 50 100]`.

A whole search of 20 rounds x 50 problems x 3 calls (the start workflow's evaluation is the first round), as
`aflow-env search` runs one: real store, ledger, sandbox and OpenAI client with mode=record, against a SIMULATED
chat-completions server in a process of its own that answers after 200 ms (stub.py). Each round sets one prompt of a
workflow of three Custom steps, so no call repeats another and every round asks for all its calls.

    wall    from opening the run to closing it; ideal = calls x latency / places, where places is what may be in flight
            at a time: the least of `concurrency` and the problems, since a problem asks one thing at a time
    cpu     user + system time of this process and its children (sandbox), not the server's, over the calls
    client  the same requests by the OpenAI client's provider alone, and by the official SDK alone: what a search cannot
            go below

Wall-clock figures: run it on an idle machine.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.search.assemble import Assembly
from aflow_env.search.proposal import Reply, State
from aflow_env.search.rounds import SearchProblem, session_seed
from aflow_env.search.store import SessionKey
from aflow_env.workflow.edits import Edit, EditParameters, format_edit
from aflow_env.workflow.steps import Step, to_workflow
from recipe.bench.stub import MODEL, serving

LATENCY = 0.2
WALL_LIMIT = 1.3  # x ideal
CPU_LIMIT = 1.0  # ms a call


class NewPrompts:
    """Proposes a prompt that no round had before."""

    def __init__(self) -> None:
        self._proposed = 0

    async def propose(self, state: State, seed: int) -> Reply:
        self._proposed += 1
        instruction = EditParameters(instruction=f"Instruction number {self._proposed}: solve it step by step.")
        return Reply(format_edit(Edit(operation="set_prompt", position=1, parameters=instruction)))


@dataclass(frozen=True)
class Figures:
    """One search, measured; seconds, and milliseconds of processor time a call."""

    concurrency: int
    calls: int
    wall: float
    cpu_ms: float
    ideal: float


def processor_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def configuration(url: str, folder: Path, rounds: int, problems: int, concurrency: int) -> AflowConfig:
    """The config of the measured search."""
    return load(
        [
            "executor=openai", f"executor.base_url={url}", f"executor.model={MODEL}", "executor.prices=free",
            f"executor.concurrency={concurrency}", "rl_weight=0", f"rounds={rounds - 1}", f"run_dir={folder}",
            f"task.validate_size={problems}", "task.test_size=5", "final_test=false",
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
    """One search from nothing to its end."""
    with tempfile.TemporaryDirectory() as folder:
        config = configuration(url, Path(folder), rounds, problems, concurrency)
        processor, clock = processor_seconds(), time.perf_counter()
        calls = asyncio.run(search(config))
        wall, processor = time.perf_counter() - clock, processor_seconds() - processor
    assert calls == rounds * problems * 3, calls
    ideal = calls * LATENCY / min(concurrency, problems)
    return Figures(concurrency, calls, wall, processor / calls * 1e3, ideal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--problems", type=int, default=50)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[16, 50])
    chosen = parser.parse_args()
    with serving(LATENCY) as url:
        for c in chosen.concurrency:
            f = measure(url, chosen.rounds, chosen.problems, c)
            print(f, f.wall / f.ideal)


if __name__ == "__main__":
    main()
