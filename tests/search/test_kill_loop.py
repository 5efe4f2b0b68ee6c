# SPDX-License-Identifier: Apache-2.0
"""`kill -9` at random instants of the search loop, and the same search again: in turn, and in flight.

The tree is that of a search that was never cut, nothing is lost, nothing is run twice. Real processes and the real
store; scores are drawn by digest (quick.py), after a pause, so that an instant is likely to lie between what is asked
for and what is stored. What the whole command adds (ledger, record, sandbox, report) is cut by
tests/cli/test_kill_command.py.
"""

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from aflow_env.search.prediction.surrogate import SurrogatePredictor
from aflow_env.search.proposals.proposal import Proposal, RandomProposer, State
from tests.search.quick import Quick, config, play

KILLS = 60
PHRASES = ("Think step by step.", "Answer with the number only.", "Be brief.")
RIDGE = SurrogatePredictor(fewest=3)
CHOOSING = ("lookahead.nodes=4", "lookahead.edits=3", "redraws=1", "rl_weight=0.5", "q.kind=surrogate", "q.fewest=3")
SETTINGS = {
    "one after another": ("seed=3", "rounds=8"),
    "in flight": ("seed=3", "rounds=8", "in_flight=3", "selection.sample=2"),
    "among open proposals": ("seed=3", "rounds=8", *CHOOSING),
    "among open proposals, in flight": ("seed=3", "rounds=8", "in_flight=3", *CHOOSING),
}


@dataclass
class Recalled:
    """Uniform edits, counted."""

    asked: int = 0

    async def propose(self, state: State, seed: int) -> Proposal:
        self.asked += 1
        await asyncio.sleep(0)
        return await RandomProposer(PHRASES).propose(state, seed)


async def a_while() -> None:
    await asyncio.sleep(0.003)


def kill_after(seconds: float, folder: Path, *overrides: str) -> bool:
    """Play in a child and kill it after so long; whether it was still at it."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(play(config(folder, *overrides), Quick(a_while), Recalled(), predictor=RIDGE))
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def stored(folder: Path, table: str = "evaluations") -> list[tuple[object, ...]]:
    """Every result on file, or every row of another table."""
    file = folder / "run.sqlite"
    if not file.is_file():
        return []
    with closing(sqlite3.connect(file)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'evaluations'").fetchone():
            return []
        return database.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_killed_loop_goes_on_as_if_nothing_had_been(tmp_path: Path, settings: str) -> None:
    overrides = SETTINGS[settings]
    whole = tmp_path / "whole"
    asyncio.run(play(config(tmp_path / "warm", *overrides), Quick(), Recalled(), predictor=RIDGE))  # imports
    began = time.monotonic()
    _, expected = asyncio.run(play(config(whole, *overrides), Quick(a_while), Recalled(), predictor=RIDGE))
    length = time.monotonic() - began
    total, random, cut, kills = len(stored(whole)), Random(1), 0, KILLS // len(SETTINGS)
    for number in range(kills):
        folder = tmp_path / str(number)
        cut += kill_after(random.uniform(0, length), folder, *overrides)
        before, drawn = stored(folder), stored(folder, "proposals")
        again, proposer = Quick(), Recalled()
        _, digest = asyncio.run(play(config(folder, *overrides), again, proposer, predictor=RIDGE))
        after = stored(folder)
        assert digest == expected
        if drawn:
            fresh = len(stored(folder, "proposals")) - len(drawn)
            assert proposer.asked == fresh, "no proposal that is on file is drawn again"
        assert set(before) <= set(after), "no result is lost or changed"
        assert again.runs == len(after) - len(before), "what is on file is not run again"
        assert len(after) == total
    assert cut > kills // 3, "many were killed on the way"
