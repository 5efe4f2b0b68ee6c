# SPDX-License-Identifier: Apache-2.0
"""Check the in-memory search against the library's: `python -m recipe.evidence.edits.compare [SEED ...]`.

Each seed is searched twice, by `Rule()` in memory and by the library with its sandbox and store; the two trees must
agree in every workflow's digest, parent, score and calls.
"""

import asyncio
import sys
import tempfile

from aflow_env.cli.arguments import ONE_BY_ONE
from aflow_env.cli.compose import load
from aflow_env.search.assemble import Assembly
from aflow_env.search.session import SearchProblem, session_seed
from aflow_env.store.store import SessionKey
from aflow_env.workflow.steps import to_workflow
from recipe.evidence.edits.search import Rule, Search
from recipe.evidence.edits.world import COMMON, World

ROUNDS = 20
Row = tuple[str, int, float, int]


async def real(seed: int) -> list[Row]:
    """Return the nodes of the library's own search."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = ("selection.c_ucb=0", f"rounds={ROUNDS}", f"seed={seed}", f"run_dir={folder}")
        assembly = await Assembly.open(load([*COMMON, *ONE_BY_ONE, *overrides]))
        try:
            key = SessionKey(assembly.task.spec.name, seed)
            search = assembly.search(None, None, "validate")
            session = await search.play(SearchProblem(key, session_seed(seed), assembly.start()))
            places = {node.round: place for place, node in enumerate(session.tree)}
            return [
                (
                    node.digest,
                    -1 if node.parent is None else places[node.parent],
                    round(node.score, 6),
                    sum(result.calls for result in node.evaluation.results),
                )
                for node in session.tree
            ]
        finally:
            await assembly.aclose()


def ours(seed: int) -> list[Row]:
    """Return the nodes of the in-memory search."""
    world = World.of(seed)
    nodes = Search(world, Rule()).play(ROUNDS, 0)
    return [
        (
            to_workflow(node.steps, world.task.spec).digest,
            node.parent,
            round(node.score, 6),
            world.score(node.steps).calls,
        )
        for node in nodes
    ]


def main() -> None:
    """Compare, and fail on the first difference."""
    for seed in map(int, sys.argv[1:] or ("0", "1", "2")):
        found, wanted = ours(seed), asyncio.run(real(seed))
        if found != wanted:
            differing = [pair for pair in zip(found, wanted, strict=False) if pair[0] != pair[1]]
            raise SystemExit(
                f"seed {seed}: {len(found)} and {len(wanted)} nodes; the first difference: {differing[:1]}"
            )
        print(f"seed {seed}: {len(found)} nodes agree in digest, parent, score and calls")


if __name__ == "__main__":
    main()
