# SPDX-License-Identifier: Apache-2.0
"""A new user's path works as it is written: every file and every command of docs/quickstart.md, in an empty folder."""

import json
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import free_port, script, write_files


def test_the_quick_start_works_as_it_is_written(tmp_path: Path) -> None:
    """From the first search to an own task with an own scorer, searched and tested against a server."""
    port = free_port()
    write_files("quickstart.md", tmp_path, port)
    tools = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    more = "\naflow-env show runs/units --json > shown.json\n"
    done = subprocess.run(
        ["bash", "-c", script("quickstart.md", port) + more],
        cwd=tmp_path,
        env={"PATH": tools, "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIMULATED executor" in done.stdout
    shown = json.loads((tmp_path / "shown.json").read_text(encoding="utf-8"))
    scores = {node["round"]: node["score"] for node in shown["nodes"]}
    assert shown["best"]["score"] > scores[1], "the search found something better than its start"
    assert scores[1] * 20 == round(scores[1] * 20), "ten problems, each worth 0, a half or 1: the page's own scorer"
    assert (tmp_path / "best" / "graph.py").is_file()
    assert "test problems, 3 repeats" in done.stdout
