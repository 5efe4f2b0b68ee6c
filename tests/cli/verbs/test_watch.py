# SPDX-License-Identifier: Apache-2.0
"""`watch`: follows a search that another process writes, to its end, and never disturbs it."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from aflow_env.cli.verbs.watch import standing, view
from aflow_env.store.database import ReadOnlyStore
from tests.cli.conftest import SMALL, Command
from tests.report.runs import closed, large_store, note

CLI = (sys.executable, "-m", "aflow_env.cli")


def test_a_running_search_is_followed_to_its_end(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    search = subprocess.Popen(
        [*CLI, "search", f"run_dir={folder}", "rounds=3", *SMALL], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    done = subprocess.run(
        [*CLI, "watch", str(folder), "--every", "0.1"], capture_output=True, text=True, timeout=180, check=True
    )
    assert search.wait(timeout=120) == 0
    lines = done.stdout.splitlines()
    assert [line.split(":")[0].split(" from")[0] for line in lines if line.startswith("round")] == [
        "round 1",
        "round 2",
        "round 3",
        "round 4",
    ]
    assert "SIMULATED" in lines[0]
    assert lines[-1].split() == ["ended", "rounds"]
    assert all(len(line) <= 80 for line in lines)


def test_ctrl_c_ends_the_view_with_130(tmp_path: Path) -> None:
    run = large_store(tmp_path / "run", 5)
    process = subprocess.Popen([*CLI, "watch", str(run)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said


def ended(store: Path) -> str:
    reading = ReadOnlyStore(store)
    found = standing(reading).ended
    reading.close()
    return found


def test_a_search_that_was_begun_again_has_not_ended(tmp_path: Path) -> None:
    store = closed(tmp_path / "run", 20)
    assert ended(store)
    assert not ended(closed(tmp_path / "stale", 12))
    config = {"run_dir": "run", "rounds": 99, "task": {"name": "arithmetic"}, "executor": {"kind": "simulated"}}
    note(store.parent, "config", config)
    assert not ended(store)
    note(store.parent, "report", {"digest": "d20", "nodes": 20})
    assert ended(store)


def test_on_a_terminal_it_fits_80_columns_and_is_quick_at_ten_thousand_rounds(tmp_path: Path) -> None:
    store = ReadOnlyStore(large_store(tmp_path / "run", 10_000) / "run.sqlite")
    began = time.process_time()
    found = standing(store)
    assert time.process_time() - began < 0.5
    written = io.StringIO()
    Console(file=written, force_terminal=True, width=80, no_color=True).print(view(found))
    store.close()
    text = written.getvalue()
    for part in ("round 9999", "best", "0.800", "rejected 200", "correct 62%", "replies truncated", "change 10000"):
        assert part in text


def test_a_folder_without_a_run_is_the_users_error(aflow: Command, tmp_path: Path) -> None:
    said = aflow("watch", tmp_path / "nothing")
    assert said.status == 2
    assert "run.sqlite" in said.err
