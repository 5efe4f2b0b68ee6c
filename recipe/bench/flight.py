# SPDX-License-Identifier: Apache-2.0
"""Measure what several expansions in flight cost a search: `python -m recipe.bench.flight [--draws 2000]`.

The real tree, selection (defaults of `aflow-env search`) and schedule of expansion.py, on a made-up landscape: the
true share of a child is its parent's plus a normal step, clipped to [0, 1]; its score is a draw of 50 problems.
The start and the mean step are those of ten searches with uniform edits and the SIMULATED executor (183 steps). The
deviation is chosen so that the first line ends as these searches. Without model and evaluation two lines differ in the
knowledge of a round at its selection, and in the number of rounds.

    best      score of the best node, mean over the draws with its 95 % interval
    depth     how many edits the best node is from the start
"""

import argparse
from collections import deque

import numpy as np
from rich.console import Console
from rich.table import Table

from aflow_env.config import SelectionConfig
from aflow_env.evaluation.results import Evaluation
from aflow_env.search.choice.selection import select
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node
from aflow_env.workflow.program import Workflow

START, MEAN, DEVIATION, PROBLEMS = 0.24, -0.032, 0.1, 50
RULE = SelectionConfig(c_ucb=0.1)
SETTINGS = ((1, 20), (2, 20), (4, 20), (8, 20), (4, 23), (4, 26), (4, 30))  # in flight, rounds


def evaluated(round_: int, parent: int | None, score: float) -> Node:
    """Return a node of which only the score matters."""
    name = f"{round_:016x}"
    evaluation = Evaluation(name, "", score, (0.0, 1.0), PROBLEMS, {}, 0.0, 0, 0, 0, 0, 0.0, ())
    return Node(round_, parent, Workflow("", ""), evaluation)


def play(in_flight: int, rounds: int, rng: np.random.Generator) -> tuple[float, int]:
    """Search once; return the best score and its depth."""
    tree, flights, truth, depth = Tree(), deque[Node](), {1: START}, {1: 0}
    tree.record(evaluated(1, None, rng.binomial(PROBLEMS, START) / PROBLEMS))
    for _ in range(rounds):
        if len(flights) == in_flight:
            tree.record(flights.popleft())
        known, means, visits = tree.arrays()
        parent = select(rounds=known, means=means, visits=visits, config=RULE, rng=rng).round
        round_ = tree.begin(parent)
        truth[round_] = float(np.clip(truth[parent] + rng.normal(MEAN, DEVIATION), 0.0, 1.0))
        depth[round_] = depth[parent] + 1
        flights.append(evaluated(round_, parent, rng.binomial(PROBLEMS, truth[round_]) / PROBLEMS))
    for node in flights:
        tree.record(node)
    return tree.best().score, depth[tree.best().round]


def main(draws: int) -> None:
    """Every setting with its draws, as a table."""
    table = Table("in flight", "rounds", "best", "95 % interval", "depth", title=f"the schedule alone, {draws:,} draws")
    for in_flight, rounds in SETTINGS:
        found = np.array([play(in_flight, rounds, np.random.default_rng(seed)) for seed in range(draws)])
        best, deep = found.mean(axis=0)
        half = 1.96 * found[:, 0].std(ddof=1) / np.sqrt(draws)
        table.add_row(
            str(in_flight), str(rounds), f"{best:.3f}", f"[{best - half:.3f}, {best + half:.3f}]", f"{deep:.1f}"
        )
    Console(width=80).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    main(**vars(parser.parse_args()))
