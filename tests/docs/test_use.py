# SPDX-License-Identifier: Apache-2.0
"""docs/use.md works as it is written: every file and every command, in an empty folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import free_port, script, write_files

pytest.importorskip("openai", reason="needs the openai SDK: make setup")
pytest.importorskip("uvicorn", reason="needs uvicorn: make setup")


def test_the_page_works_as_it_is_written(tmp_path: Path) -> None:
    """An own task, Python, a file and a server, from the page alone."""
    port = free_port()
    write_files("use.md", tmp_path, port)
    done = subprocess.run(
        ["bash", "-c", script("use.md", port)],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SIMULATED executor" in done.stdout
    assert "nodes, test score" in done.stdout
    assert "out.jsonl: 2 answered, 0 were there, 0 left" in done.stdout
    assert "out.jsonl: 0 answered, 2 were there, 0 left" in done.stdout
    assert "data: [DONE]" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {line["id"]: line["outcome"] for line in lines} == {"a": "ok", "b": "ok"}
