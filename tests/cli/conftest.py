# SPDX-License-Identifier: Apache-2.0
"""The command line in this process: what it printed and its exit status."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aflow_env.cli import main

SMALL = ("limit=4", "task.validate_size=4", "task.test_size=5")
"""Overrides that make a run of seconds."""


@dataclass(frozen=True)
class Said:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as the one object that `--json` promises."""
        return json.loads(self.out)


Command = Callable[..., Said]


@pytest.fixture
def aflow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `aflow-env` with these arguments."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["aflow-env", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            sys.exit(main())
        code = left.value.code
        printed = capsys.readouterr()
        return Said(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three rounds that has ended; tests that change it must not use it."""
    from aflow_env.cli.arguments import UNGUIDED
    from aflow_env.cli.compose import load
    from aflow_env.cli.verbs.search import search_to_end

    folder = tmp_path_factory.mktemp("cli") / "run"
    search_to_end(load([f"run_dir={folder}", "rounds=3", *SMALL], UNGUIDED), as_json=True)
    return folder
