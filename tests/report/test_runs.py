# SPDX-License-Identifier: Apache-2.0
"""A closing report speaks of the rounds that it knew: one that is out of date is used by no one."""

from pathlib import Path

from aflow_env.report.pairs import result
from aflow_env.report.runs import read_run, read_runs
from tests.report.runs import closed, large_store


def test_a_report_of_fewer_rounds_gives_no_score(tmp_path: Path) -> None:
    whole, stale = (read_run(closed(tmp_path / name, nodes)) for name, nodes in (("whole", 20), ("stale", 12)))
    assert (result(whole, "test"), result(whole, "best")) == (0.1, 0.1)
    assert result(stale, "test") is None
    assert result(stale, "best") == 0.8, "the best node's"


def test_paths_that_overlap_hold_a_run_once(tmp_path: Path) -> None:
    store = large_store(tmp_path / "runs" / "a", 3) / "run.sqlite"
    large_store(tmp_path / "runs" / "b", 3)
    (tmp_path / "link").symlink_to(tmp_path / "runs" / "a")
    found = read_runs([store, tmp_path, tmp_path / "runs" / "a", tmp_path / "link"])
    assert [run.name for run in found] == ["a", "b"]
