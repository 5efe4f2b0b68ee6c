# SPDX-License-Identifier: Apache-2.0
"""`sweep`: a grid of searches, each in a folder that its swept values name, resumable, failures told."""

from pathlib import Path

from tests.cli.conftest import SMALL, Command


def test_a_grid_is_searched_once_and_repeated_only_where_it_is_missing(aflow: Command, tmp_path: Path) -> None:
    grid = ("seed=1,2", "rounds=1", "final_calls=0", *SMALL)
    said = aflow("sweep", *grid, "--out", tmp_path, "--jobs", 2, "--json")
    assert said.status == 0, said.err
    jobs = said.json["jobs"]
    assert [job["status"] for job in jobs] == ["done", "done"]
    assert all(job["best"]["n"] == 4 for job in jobs)
    assert {Path(job["run_dir"]).parent for job in jobs} == {tmp_path}
    assert [job["name"] for job in jobs] == ["seed=1", "seed=2"], "named by what is swept, as in --multirun"
    (Path(jobs[1]["run_dir"]) / "job.json").unlink()
    again = aflow("sweep", *grid, "--out", tmp_path)
    assert again.status == 0
    assert "2 jobs: 1 done, 1 skipped, 0 failed" in again.out
    assert all(len(line) <= 80 for line in again.out.splitlines() if "aflow-env" not in line)


def test_a_failed_search_is_told_and_the_others_go_on(aflow: Command, tmp_path: Path) -> None:
    """A run folder that holds a file where the store should be fails that job alone."""
    (tmp_path / "seed=1").mkdir()
    broken = tmp_path / "seed=1" / "run.sqlite"
    broken.write_text("no database at all, and longer than a header of SQLite would be" * 4)
    sizes = ("limit=2", "task.validate_size=4", "task.test_size=5")
    said = aflow("sweep", "seed=1,2", "rounds=1", "final_calls=0", *sizes, "--out", tmp_path)
    assert said.status == 3
    assert "damaged" in said.err
    assert "1 done, 0 skipped, 1 failed" in said.out


def test_a_wrong_key_or_a_weight_without_a_policy_stops_before_anything_starts(aflow: Command, tmp_path: Path) -> None:
    for override, said in (
        ("no_such_key=1", "no_such_key"),
        ("q.kind=none", "q.kind=none"),
        ("++run_dir=x", "run_dir"),
        ("seed=1,1", "seed=1"),
    ):
        done = aflow("sweep", override, "--out", tmp_path / "runs")
        assert done.status == 2
        assert said in done.err
        assert not (tmp_path / "runs").exists()
