# SPDX-License-Identifier: Apache-2.0
"""`report`: a table in 80 columns, and the files that were asked for, from the stores alone."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, Command

pytest.importorskip("matplotlib", reason="needs aflow-env[report]")


def test_the_report_of_a_run(aflow: Command, finished: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "page.html", tmp_path / "deep" / "table.csv"
    said = aflow("report", finished, "--html", page, "--csv", table)
    assert said.status == 0, said.err
    assert all(len(line) <= 80 for line in said.out.splitlines() if not line.startswith("written"))
    assert "SIMULATED" in said.out
    assert "n=1 seed. There is no other group" in " ".join(said.out.split())
    text = page.read_text()
    assert "SIMULATED" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert len(table.read_text().splitlines()) == 2


def test_the_same_runs_give_the_same_page(aflow: Command, finished: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        aflow("report", finished, "--html", tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_it_only_reads(aflow: Command, finished: Path) -> None:
    before = (finished / "run.sqlite").read_bytes()
    aflow("report", finished.parent, "--json")
    assert (finished / "run.sqlite").read_bytes() == before


def test_groups_of_a_sweep(aflow: Command, tmp_path: Path) -> None:
    grid = ("seed=1", "selection.c_ucb=0,0.3", "rounds=1", "final_calls=0", *SMALL)
    aflow("sweep", *grid, "--out", tmp_path, "--jobs", 2)
    found = aflow("report", tmp_path, "--by", "selection.c_ucb", "--json").json
    assert [group["group"] for group in found["groups"]] == ["selection.c_ucb=0", "selection.c_ucb=0.3"]
    assert found["effects"][0]["n"] == 1


def test_a_run_that_several_paths_hold_counts_once(aflow: Command, finished: Path) -> None:
    said = aflow("report", finished, finished.parent, finished / "run.sqlite", "--json").json
    assert said["groups"][0]["runs"] == 1


def test_a_run_that_wandb_tells_of_too_counts_once(aflow: Command, finished: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs wandb: make setup")
    from tests.report.test_wandb_runs import log

    for folder, run_dir in (("same", str(finished)), ("other", "of another run with this name")):
        log(tmp_path / folder, "run", 0.0, {1: {"aflow/final/cost_usd": 1.5}}, run_dir)
    said = aflow("report", finished, tmp_path, "--json").json
    assert sum(group["runs"] for group in said["groups"]) == 2


@pytest.mark.parametrize("path", ["missing", "."])
def test_a_folder_without_runs_is_the_users_error(aflow: Command, tmp_path: Path, path: str) -> None:
    said = aflow("report", tmp_path / path)
    assert said.status == 2
    assert "run.sqlite" in said.err


def test_an_unknown_price_is_unknown_everywhere(aflow: Command, tmp_path: Path) -> None:
    """Table, page, CSV and JSON never show 0 USD for calls whose price nobody knows."""
    run = tmp_path / "run"
    aflow("search", f"run_dir={run}", "rounds=1", *SMALL)
    (run / "ledger.sqlite").unlink()  # the bill is then that of the evaluations
    with closing(sqlite3.connect(run / "run.sqlite")) as database, database:
        database.execute("UPDATE nodes SET cost_usd = 0, unpriced = calls, usd_a_problem = NULL")
        database.execute("UPDATE evaluations SET unpriced = calls, cost_usd = 0")
    page, rows = tmp_path / "r.html", tmp_path / "r.csv"
    said = aflow("report", run, "--html", page, "--csv", rows)
    assert said.status == 0
    assert "unknown" in said.out
    assert "0.0000" not in said.out + page.read_text()
    assert ",unknown," in rows.read_text()
    (group,) = aflow("report", run, "--json").json["groups"]
    assert group["cost_usd"] is None
    assert group["front"] is None
