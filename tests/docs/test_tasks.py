# SPDX-License-Identifier: Apache-2.0
"""docs/tasks.md: the page's task with feedback works as it is written, in an empty folder."""

import subprocess
import sys
from pathlib import Path

from tests.docs.pages import script, write_files


def test_the_scorer_of_the_page_speaks_to_people_and_to_the_page_of_the_tree(tmp_path: Path) -> None:
    """The page's own files and commands: its scorer's text is what `show` prints."""
    write_files("tasks.md", tmp_path)
    done = subprocess.run(
        ["bash", "-c", script("tasks.md")],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIMULATED executor" in done.stdout
    shown = " ".join(done.stdout.partition("modification")[2].split())
    assert "best failed last_word/validate/" in shown
    assert "wrong: the last word is" in shown or "is there, but the last word is" in shown
    assert (tmp_path / "tree.html").is_file()
