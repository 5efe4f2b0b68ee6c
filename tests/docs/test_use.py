# SPDX-License-Identifier: Apache-2.0
"""docs/use.md works as it is written: every file and every command, in an empty folder."""

import json
from pathlib import Path

import pytest

from tests.docs.pages import free_port, run_page

pytest.importorskip("openai", reason="needs the openai SDK: make setup")
pytest.importorskip("uvicorn", reason="needs uvicorn: make setup")


def test_the_page_works_as_it_is_written(tmp_path: Path) -> None:
    """An own task, Python, a file and a server, from the page alone."""
    printed = run_page("use.md", tmp_path, free_port(), seconds=600)
    assert "nodes, test score" in printed
    assert "out.jsonl: 2 answered, 0 were there, 0 left" in printed
    assert "out.jsonl: 0 answered, 2 were there, 0 left" in printed
    assert "data: [DONE]" in printed
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["id"]: line["outcome"] for line in lines} == {"a": "ok", "b": "ok"}
