# SPDX-License-Identifier: Apache-2.0
"""The verbs of the console script."""

import re
from pathlib import Path

import typer.main

from aflow_env.cli import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def test_the_page_has_a_row_for_each_verb() -> None:
    """Promise: the table of docs/cli.md and `aflow-env --help` name the same verbs."""
    rows = re.findall(r"^\| `([\w-]+)", PAGE.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
