# SPDX-License-Identifier: Apache-2.0
"""docs/tasks.md: the page's task with feedback works as it is written, in an empty folder."""

from pathlib import Path

from tests.docs.pages import run_page


def test_the_scorer_of_the_page_speaks_to_people_and_to_the_page_of_the_tree(tmp_path: Path) -> None:
    """The page's own files and commands: its scorer's text is what `show` prints."""
    printed = run_page("tasks.md", tmp_path)
    shown = " ".join(printed.partition("modification")[2].split())
    assert "best failed last_word/validate/" in shown
    assert "wrong: the last word is" in shown or "is there, but the last word is" in shown
    assert (tmp_path / "tree.html").is_file()
