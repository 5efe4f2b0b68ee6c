# SPDX-License-Identifier: Apache-2.0
"""Measure the savings of the evaluation cache: `python -m recipe.bench.cache [--seeds 10 --rounds 20 --problems 50]`.

Whole searches with uniform edits and the SIMULATED executor, everything else real, each closed by the report that
evaluates the leading workflows. For one and four expansions in flight, sums over the seeds:

    runs     workflow runs (a problem, once) that were asked for, by the search and its closing report
    cached   share of them that was found
    calls    executor calls of the runs that were made
    without  executor calls of all runs that were asked for
    best     the winner's score on all problems, mean over the seeds
"""

import argparse
import asyncio
import tempfile
from statistics import fmean
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from aflow_env.cli.arguments import ONE_BY_ONE
from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import CANDIDATES, report
from aflow_env.search.session import SearchProblem, session_seed
from aflow_env.store.findings import last_report, leaders
from aflow_env.store.store import SessionKey


class Figures(NamedTuple):
    """One search, counted: runs and calls that were asked for, those that were made, and the winner's score."""

    runs: int
    calls: int
    made_runs: int
    made_calls: int
    best: float


async def search(config: AflowConfig) -> Figures:
    """Run a search with its closing report, and count what it asked for and what it made."""
    assembly = await Assembly.open(config)
    try:
        problem = SearchProblem(SessionKey("bench", config.seed), session_seed(config.seed), assembly.start())
        session = await assembly.search(None, None, "validate").play(problem)
        await report(assembly)
        said = last_report(assembly.store)
        assert said is not None
        ((runs, calls),) = assembly.store.read("SELECT count(*), sum(calls) FROM evaluations")
        by_digest = {node.digest: node.evaluation for node in session.tree}
        closing = [assembly.start(), *leaders(assembly.store, assembly.task.spec.name, CANDIDATES)]
        asked = [*(node.evaluation for node in session.tree), *(by_digest[each.digest] for each in closing)]
        wanted = sum(each.n for each in asked), sum(each.calls for each in asked)
        return Figures(*wanted, int(str(runs)), int(str(calls)), said["best"]["score"])
    finally:
        await assembly.aclose()


def main(seeds: int, rounds: int, problems: int) -> None:
    """Search with each seed, and print the table."""
    title = f"{rounds} rounds, {problems} problems, {seeds} seeds, SIMULATED executor"
    table = Table("in flight", "runs", "cached", "calls", "without", "best", title=title, width=80)
    sizes = (f"rounds={rounds}", f"task.validate_size={problems}", "final_calls=null", "task.test_size=0")
    for in_flight in (1, 4):
        found = []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                given = (*ONE_BY_ONE, "q.kind=none", "proposer=random", f"run_dir={folder}", f"in_flight={in_flight}")
                found.append(asyncio.run(search(load((*given, *sizes, f"seed={seed}")))))
        runs, calls, made_runs, made_calls, best = zip(*found, strict=True)
        share = 1 - sum(made_runs) / sum(runs)
        table.add_row(
            *(str(in_flight), f"{sum(runs):,}", f"{share:.0%}", f"{sum(made_calls):,}", f"{sum(calls):,}"),
            f"{fmean(best):.3f}",
        )
    Console(width=80).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--problems", type=int, default=50)
    main(**vars(parser.parse_args()))
