# SPDX-License-Identifier: Apache-2.0
"""Time the tree and the store at size: `python -m recipe.bench.store [NODES] [PROBLEMS]` (default 10,000 and 10).

Plays a search whose evaluations are made up, nodes x problems results in all. Then opens the file afresh, resumes, and
plays on from the resumed tree.

    ask      select a node, read its experience and the results of its evaluation, begin
    tell     store the results, store the node, tell the tree
    resume   open the file, read the session with its results, tell a fresh tree all of it

Ask and tell are those of the last tenth of the rounds. The file is in the temporary directory and is removed; some
25 MB for the default. Times are wall-clock, so run it on an idle machine.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from aflow_env.config import SelectionConfig
from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.search.choice.selection import select
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node
from aflow_env.store.store import SessionKey, Store
from aflow_env.workflow.program import Workflow

KEY = SessionKey("bench")
RULE = SelectionConfig(c_ucb=0.1)


def node(round_: int, parent: int | None, rng: np.random.Generator, problems: int) -> Node:
    """Return a made-up evaluated workflow, about as long as a real one."""
    right = rng.random(problems) < 0.5
    results = [
        ProblemResult(
            problem_id=f"problem-{i}",
            repeat=0,
            outcome=Outcome.CORRECT if right[i] else Outcome.WRONG,
            score=float(right[i]),
            answer="The answer is 42.",
            problem_digest=f"{i:016x}",
        )
        for i in range(problems)
    ]
    workflow = Workflow(f"# {round_}\n" + "x = 1\n" * 150, 'PROMPT = """Think."""')
    return Node(round_, parent, workflow, summarise(f"{round_:016x}", "e" * 16, results), f"change {round_}")


@dataclass
class Times:
    """Seconds of each ask and tell."""

    asks: list[float] = field(default_factory=list)
    tells: list[float] = field(default_factory=list)


def play(store: Store, tree: Tree, until: int, rng: np.random.Generator, problems: int) -> Times:
    """Grow the tree until it has so many nodes."""
    times = Times()
    for round_ in range(len(tree) + 1, until + 1):
        start = time.perf_counter()
        parent = None
        if round_ > 1:
            rounds, means, visits = tree.arrays()
            parent = select(rounds=rounds, means=means, visits=visits, config=RULE, rng=rng).round
            chosen = tree.node(parent)
            store.experience("bench", chosen.digest, KEY, 6)
            assert len([result for result in chosen.evaluation.results if result.outcome is Outcome.WRONG]) <= problems
            tree.begin(parent)
        asked = time.perf_counter()
        told = node(round_, parent, rng, problems)
        made = time.perf_counter()
        store.put_many(told.digest, told.evaluation.executor_key, told.evaluation.results)
        store.record(KEY, told)
        tree.record(told)
        times.tells.append(time.perf_counter() - made)
        times.asks.append(asked - start)
    return times


def main(nodes: int, problems: int) -> None:
    """Fill, measure, resume."""
    rng = np.random.default_rng(0)
    grid = Table("what", "median ms", "p99 ms", "longest ms", "limit ms", title=f"{nodes:,} nodes x {problems} results")

    def row(name: str, seconds: Sequence[float], limit: float) -> None:
        shown = [f"{value * 1e3:.2f}" for value in (*np.percentile(seconds, (50, 99)), max(seconds))]
        grid.add_row(name, *shown, f"{limit:g}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.sqlite"
        store, tree = Store(path), Tree()
        store.open_session(KEY, "bench")
        times = play(store, tree, nodes, rng, problems)
        row("ask", times.asks[-nodes // 10 :], 10)
        row("record", times.tells[-nodes // 10 :], 10)
        store.close()
        start = time.perf_counter()
        store, again = Store(path), Tree()
        for ended in store.open_session(KEY, "bench").ended:
            again.record(ended)
        row("resume", [time.perf_counter() - start], 5000)
        assert again.best() == tree.best()
        assert [array.tolist() for array in again.arrays()] == [array.tolist() for array in tree.arrays()]
        times = play(store, again, nodes + max(100, nodes // 100), rng, problems)
        row("ask, resumed", times.asks, 10)
        row("record, resumed", times.tells, 10)
        grid.caption = f"file: {path.stat().st_size / 1e6:.0f} MB"
        store.close()
    Console(width=80).print(grid)


if __name__ == "__main__":
    main(*(int(argument) for argument in (*sys.argv[1:], *("10000", "10")[len(sys.argv) - 1 :])))
