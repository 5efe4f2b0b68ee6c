# SPDX-License-Identifier: Apache-2.0
"""`kill -9` of `aflow-env search` at 50 random instants, and the same command again, and again, until it ends.

The whole command in a process of its own: config, ledger, record, sandbox, report. What it ends with is what a run that
was never cut ends with; nothing that was on disk is lost or changed; nothing is paid twice; no process and no file of
the sandbox is left behind. One round after another; tests/search/test_kill_loop.py cuts what this one reaches too
seldom, the loop with several expansions in flight.
"""

import os
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from random import Random

from aflow_env.cli import main
from aflow_env.llm.budget import Ledger, Spend
from aflow_env.store.store import Store
from aflow_env.workflow.aflow.aflow_workspace import read_workflow

KILLS = 50
OVERRIDES = ("rounds=5", "limit=4", "task.validate_size=4", "task.test_size=4", "executor.mode=record", "seed=5")
LASTING = {
    "evaluations": "SELECT * FROM evaluations",
    "completions": "SELECT * FROM completions",
    "nodes": "SELECT * FROM nodes",
}
PAID = "SELECT key, model, request, input_tokens, output_tokens, cost_usd FROM completions ORDER BY key"


def start(folder: Path, temporary: Path) -> int:
    """`aflow-env search` in a child that has this process's imports, and its own folder for temporary files."""
    child = os.fork()
    if child:
        return child
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        tempfile.tempdir = str(temporary)
        sys.argv = ["aflow-env", "search", f"run_dir={folder}", *OVERRIDES]
        main()
    except SystemExit as left:
        os._exit(left.code if isinstance(left.code, int) else 1)
    finally:
        os._exit(70)
    return 0


def end(child: int, seconds: float) -> tuple[int, float]:
    """Kill the child after so many seconds, unless it has ended; return its wait status and the seconds that it ran."""
    began = time.monotonic()
    while (ran := time.monotonic() - began) < seconds:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status, ran
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1], ran


def rows(folder: Path) -> dict[str, set[tuple[object, ...]]]:
    """All rows of the tables that only ever grow."""
    if not (folder / "run.sqlite").is_file():
        return {name: set() for name in LASTING}
    with closing(sqlite3.connect(folder / "run.sqlite")) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'evaluations'").fetchone():
            return {name: set() for name in LASTING}
        return {name: set(database.execute(sql)) for name, sql in LASTING.items()}


def left_behind(temporary: Path) -> list[str]:
    """Zygotes and jailed children that name this folder for temporary files, and the files in it."""
    found = [str(path) for path in temporary.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if os.fsencode(temporary) in command.split(b"\0"):
            found.append(command.replace(b"\0", b" ").decode())
    return found


def calls(folder: Path) -> tuple[int, int]:
    """Calls that the ledger knows to be paid, and those that it counts because nobody knows: in flight at a kill."""
    ledger = Ledger(folder / "ledger.sqlite")
    totals = ledger.totals()
    ledger.close()
    doubtful: Spend = totals.uncertain + totals.reserved
    return totals.certain.calls, doubtful.calls


def outcome(folder: Path) -> tuple[object, ...]:
    """What two runs of one search must agree on, but for what it cost to get there."""
    store = Store(folder / "run.sqlite")
    try:
        (table,) = store.read("SELECT data FROM events WHERE kind = 'report' ORDER BY id DESC LIMIT 1") or [("none",)]
        return store.digest(), store.read(PAID), table, read_workflow(folder / "best")
    finally:
        store.close()


def test_a_killed_command_ends_as_if_nothing_had_been_and_pays_for_nothing_twice(tmp_path: Path) -> None:
    temporary, whole = tmp_path / "temporary", tmp_path / "whole"
    temporary.mkdir()
    began = time.monotonic()
    assert os.waitpid(start(whole, temporary), 0)[1] == 0
    length = time.monotonic() - began
    expected = outcome(whole)
    assert calls(whole) == (len(rows(whole)["completions"]), 0)
    assert not left_behind(temporary)

    random, killed, runs, doubtful_calls = Random(7), 0, 0, 0
    while killed < KILLS:
        folder = tmp_path / str(runs)
        runs += 1
        before, whole_run = rows(folder), True
        while True:
            status, ran = end(start(folder, temporary), random.uniform(0.0, length))
            deadline = time.monotonic() + 60
            while (left := left_behind(temporary)) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert not left
            after = rows(folder)
            assert all(before[name] <= after[name] for name in LASTING), "what was on disk is lost, or changed"
            paid, doubtful = calls(folder)
            assert paid <= len(after["completions"]) <= paid + doubtful, "a paid call is not on disk, or paid twice"
            before = after
            if not os.WIFSIGNALED(status):
                length = ran if whole_run else length  # a machine that is less busy now would be killed too late
                break
            killed, whole_run = killed + 1, False
        assert os.waitstatus_to_exitcode(status) == 0
        assert outcome(folder) == expected
        doubtful_calls += doubtful
    print(f"{killed} kills in {runs} runs of {length:.2f} s, {doubtful_calls} calls were in flight")
