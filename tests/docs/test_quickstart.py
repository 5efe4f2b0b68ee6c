# SPDX-License-Identifier: Apache-2.0
"""A new user's path works as it is written: every file and every command of docs/quickstart.md, in an empty folder."""

import json
from pathlib import Path

from tests.docs.pages import free_port, run_page


def test_the_quick_start_works_as_it_is_written(tmp_path: Path) -> None:
    """From the first search to an own task with an own scorer, searched and tested against a server."""
    printed = run_page("quickstart.md", tmp_path, free_port(), "\naflow-env show runs/units --json > shown.json\n")
    shown = json.loads((tmp_path / "shown.json").read_text(encoding="utf-8"))
    scores = {node["round"]: node["score"] for node in shown["nodes"]}
    assert shown["best"]["score"] > scores[1], "the search found something better than its start"
    assert scores[1] * 20 == round(scores[1] * 20), "ten problems, each worth 0, a half or 1: the page's own scorer"
    assert (tmp_path / "best" / "graph.py").is_file()
    assert "test problems, 3 repeats" in printed
