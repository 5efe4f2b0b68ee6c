# SPDX-License-Identifier: Apache-2.0
"""`tree`: one file from a run's store, whatever state the run is in."""

from pathlib import Path

import pytest

from aflow_env.store.store import Store
from tests.cli.conftest import Command

pytest.importorskip("jinja2", reason="needs aflow-env[report]")


def test_the_tree_of_a_run_is_one_file_that_says_simulated(aflow: Command, finished: Path, tmp_path: Path) -> None:
    said = aflow("tree", finished, "--out", tmp_path / "deep" / "tree.html")
    assert said.status == 0, said.err
    text = (tmp_path / "deep" / "tree.html").read_text()
    assert said.out.strip() == str(tmp_path / "deep" / "tree.html")
    assert "SIMULATED" in text
    assert "<script src" not in text
    assert "<link" not in text


def test_a_run_is_named_by_its_folder_from_within(
    aflow: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    assert aflow("tree", ".", "--out", tmp_path / "tree.html").status == 0
    assert f"search tree of {finished.name}</title>" in (tmp_path / "tree.html").read_text()


def test_a_run_without_a_round_and_a_folder_without_a_run_are_the_users_error(aflow: Command, tmp_path: Path) -> None:
    assert aflow("tree", tmp_path).status == 2
    Store(tmp_path / "run.sqlite").close()
    said = aflow("tree", tmp_path)
    assert said.status == 2
    assert "no round" in said.err
