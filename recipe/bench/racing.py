# SPDX-License-Identifier: Apache-2.0
"""Measure the savings of racing and of the evaluation cache.

    python -m recipe.bench.racing [--seeds 10 --rounds 20 --problems 50]

Whole searches with uniform edits and the SIMULATED executor, everything else real, each closed by the report that
evaluates the leading workflows in full. For each setting, over the seeds:

    runs     workflow runs (a problem, once) that were made, those of the closing report too
    calls    executor calls that those runs made
    cached   runs that were asked for and found
    best     the winner's score on all problems, mean over the seeds
    same     in how many searches the winner is that of the first line's search with the same seed

Two lines are no searches. "without the cache" pays for every run that the first line asked for, found or not. "its
workflows, raced" races the first line's workflows, in its order, each against the best before it, to show the savings
at equal candidates.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from aflow_env.cli.arguments import ONE_BY_ONE
from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.config.nodes import RacingConfig
from aflow_env.evaluation.racing import race
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import CANDIDATES, report
from aflow_env.search.session import SearchProblem, SearchSession, session_seed
from aflow_env.store.findings import last_report, leaders
from aflow_env.store.store import SessionKey

RACING = ("racing.delta=0.05",)
SETTINGS: dict[str, tuple[str, ...]] = {
    "one after another": (),
    "racing": RACING,
    "in_flight=4": ("in_flight=4",),
    "in_flight=4, racing": ("in_flight=4", *RACING),
}


@dataclass(frozen=True)
class Figures:
    """One search, counted."""

    runs: int
    calls: int
    cached: int
    best: float
    winner: str


async def raced(assembly: Assembly, session: SearchSession) -> Figures:
    """Race the nodes of a stored search again, in order, each against the best before it."""
    rule, seed, problems = RacingConfig(delta=0.05), assembly.config.seed, assembly.problems("validate")
    best = session.tree.node(1)
    asked = [best.evaluation]
    for node in list(session.tree)[1:]:
        found = await race(assembly.evaluator, node.workflow, problems, 1, best.evaluation, rule, seed)
        best = replace(node, evaluation=found) if found.score > best.score else best
        asked.append(found)
    once = {(each.digest, run.problem_id): run.calls for each in asked for run in each.results}
    return Figures(len(once), sum(once.values()), sum(each.n for each in asked) - len(once), best.score, best.digest)


def uncached(assembly: Assembly, session: SearchSession, whole: Figures) -> Figures:
    """Count the same search as if it had paid for every run, those of the closing report too."""
    by_digest = {node.digest: node.evaluation for node in session.tree}
    closing = [session.tree.node(1).workflow, *leaders(assembly.store, assembly.task.spec.name, CANDIDATES)]
    asked = [*(node.evaluation for node in session.tree), *(by_digest[each.digest] for each in closing)]
    return replace(whole, runs=sum(each.n for each in asked), calls=sum(each.calls for each in asked), cached=0)


async def search(config: AflowConfig) -> tuple[Figures, Figures, Figures]:
    """Run a search with its closing report, count it without the cache, and race its workflows."""
    assembly = await Assembly.open(config)
    try:
        problem = SearchProblem(SessionKey("bench", config.seed), session_seed(config.seed), assembly.start())
        session = await assembly.search(None, None, "validate").play(problem)
        await report(assembly)
        said = last_report(assembly.store)
        assert said is not None
        ((runs, calls),) = assembly.store.read("SELECT count(*), sum(calls) FROM evaluations")
        cached = sum(node.evaluation.cache_hits for node in session.tree)
        whole = Figures(int(str(runs)), int(str(calls)), cached, said["best"]["score"], said["digest"])
        return whole, uncached(assembly, session, whole), await raced(assembly, session)
    finally:
        await assembly.aclose()


def main(seeds: int, rounds: int, problems: int, only: list[str]) -> None:
    """Search with every setting (those named, and the first) and seed, and print the table."""
    title = f"{rounds} rounds, {problems} problems, {seeds} seeds, SIMULATED executor"
    table = Table(title=title, width=80)
    for name in ("", "runs", "calls", "cached", "best", "same"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    winners: list[str] = []
    for name, overrides in SETTINGS.items():
        if overrides and only and name not in only:
            continue
        found = []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                given = (*ONE_BY_ONE, "q.kind=none", "proposer=random", f"run_dir={Path(folder)}")
                sizes = (
                    "final_calls=null",
                    "task.test_size=0",
                    f"rounds={rounds}",
                    f"task.validate_size={problems}",
                    f"seed={seed}",
                )
                found.append(asyncio.run(search(load((*given, *sizes, *overrides)))))
        searches, without_cache, again = zip(*found, strict=True)
        add(table, name, searches, winners)
        if not overrides:
            add(table, "without the cache", without_cache, winners)
            add(table, "its workflows, raced", again, winners)
    Console(width=80).print(table)


def add(table: Table, name: str, found: Sequence[Figures], winners: list[str]) -> None:
    """Return a line of sums over the seeds, compared with the first line's winners."""
    if not winners:
        winners.extend(each.winner for each in found)
    runs, calls, cached = (sum(getattr(each, what) for each in found) for what in ("runs", "calls", "cached"))
    best = float(np.mean([each.best for each in found]))
    same = sum(each.winner == winner for each, winner in zip(found, winners, strict=True))
    table.add_row(name, f"{runs:,}", f"{calls:,}", f"{cached:,}", f"{best:.3f}", f"{same}/{len(found)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--problems", type=int, default=50)
    parser.add_argument("--only", nargs="+", default=[], choices=SETTINGS, metavar="SETTING")
    main(**vars(parser.parse_args()))
