# SPDX-License-Identifier: Apache-2.0
"""How the tree and the store do at size: `python -m recipe.bench.store [NODES] [PROBLEMS]` (default 100,000 and 10).

Plays a search whose evaluations are made up: select, begin, store the results of PROBLEMS problems, tell the store,
tell the tree. Then opens the file afresh and resumes. Prints ask and tell at the median and the 99th percentile of
the last tenth, and the resume. The file lies in the temporary directory and is removed; about 0.5 GB for the default.
Wall-clock, so run it on an idle machine.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aflow_env.config import SelectionConfig
from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.search.selection import select
from aflow_env.search.store import SessionKey, Store
from aflow_env.search.tree import Node, Tree
from aflow_env.workflow.program import Workflow

KEY = SessionKey("bench")
RULE = SelectionConfig(c_ucb=0.1)


def node(round_: int, parent: int | None, rng: np.random.Generator, problems: int) -> Node:
    """A made-up evaluated workflow, about as long as a real one."""
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


def percentiles(seconds: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    return f"median {np.percentile(seconds, 50) * 1e3:.2f} ms, p99 {np.percentile(seconds, 99) * 1e3:.2f} ms"


def main(nodes: int, problems: int) -> None:
    """Fill, measure, resume."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.sqlite"
        store, tree = Store(path), Tree()
        store.open_session(KEY, "bench")
        asks: list[float] = []
        tells: list[float] = []
        began = time.perf_counter()
        for round_ in range(1, nodes + 1):
            start = time.perf_counter()
            parent = None
            if round_ > 1:
                rounds, means, visits = tree.arrays()
                parent = select(rounds=rounds, means=means, visits=visits, q=None, w=0.0, config=RULE, rng=rng).round
                store.experience("bench", tree.node(parent).digest, KEY, 6)
                tree.begin(parent)
            asked = time.perf_counter()
            told = node(round_, parent, rng, problems)
            made = time.perf_counter()
            store.put_many(told.digest, told.evaluation.executor_key, told.evaluation.results)
            store.tell(KEY, told)
            tree.tell(told)
            tells.append(time.perf_counter() - made)
            asks.append(asked - start)
        print(f"{nodes} nodes, {nodes * problems} evaluations in {time.perf_counter() - began:.1f} s")
        print(f"ask (select, experience):      {percentiles(asks[-nodes // 10 :])}")
        print(f"tell (results, store, tree):   {percentiles(tells[-nodes // 10 :])}")
        store.close()
        print(f"file: {path.stat().st_size / 1e6:.0f} MB")
        start = time.perf_counter()
        again = Tree()
        for ended in Store(path).open_session(KEY, "bench").told:
            again.tell(ended)
        print(f"resume: {time.perf_counter() - start:.2f} s for {len(again)} nodes; best {again.best().score:.2f}")
        assert again.best() == tree.best()
        assert [array.tolist() for array in again.arrays()] == [array.tolist() for array in tree.arrays()]


if __name__ == "__main__":
    main(*(int(argument) for argument in (*sys.argv[1:], *("100000", "10")[len(sys.argv) - 1 :])))
