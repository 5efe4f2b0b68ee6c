# SPDX-License-Identifier: Apache-2.0
"""`kill -9` at random instants of the search loop, and the same search again: in turn, and in flight with races.

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
from pathlib import Path
from random import Random

import pytest

from tests.search.quick import Quick, config, play

KILLS = 50
SETTINGS = {
    "one after another": ("seed=3", "rounds=8"),
    "in flight, raced": (
        "seed=3",
        "rounds=8",
        "in_flight=3",
        "racing.enabled=true",
        "racing.against=best",
        "racing.block=2",
        "racing.delta=0.4",
    ),
}


async def a_while() -> None:
    await asyncio.sleep(0.003)


def kill_after(seconds: float, folder: Path, *overrides: str) -> bool:
    """Play in a child and kill it after so long; whether it was still at it."""
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(play(config(folder, *overrides), Quick(a_while)))
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def stored(folder: Path) -> list[tuple[object, ...]]:
    """Every result on file."""
    file = folder / "run.sqlite"
    if not file.is_file():
        return []
    with closing(sqlite3.connect(file)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'evaluations'").fetchone():
            return []
        return database.execute("SELECT * FROM evaluations ORDER BY digest, problem_digest").fetchall()


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_killed_loop_goes_on_as_if_nothing_had_been(tmp_path: Path, settings: str) -> None:
    overrides = SETTINGS[settings]
    whole = tmp_path / "whole"
    config(whole)  # the first takes longer
    began = time.monotonic()
    _, expected = asyncio.run(play(config(whole, *overrides), Quick(a_while)))
    length = time.monotonic() - began
    total, random, cut, kills = len(stored(whole)), Random(1), 0, KILLS // len(SETTINGS)
    for number in range(kills):
        folder = tmp_path / str(number)
        cut += kill_after(random.uniform(0, length), folder, *overrides)
        before = stored(folder)
        again = Quick()
        _, digest = asyncio.run(play(config(folder, *overrides), again))
        after = stored(folder)
        assert digest == expected
        assert set(before) <= set(after), "no result is lost or changed"
        assert again.runs == len(after) - len(before), "what is on file is not run again"
        assert len(after) == total
    assert cut > kills // 3, "many were killed on the way"
