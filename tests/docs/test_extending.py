# SPDX-License-Identifier: Apache-2.0
"""docs/extending.md is true: its changes apply to the package as it is, and the programs after them run as they say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, blocks, write_files

ROOT = DOCS.parent


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with every change of the page."""
    folder = tmp_path_factory.mktemp("changed")
    for name in ("aflow_env", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_files("extending.md", folder)
    for block in blocks("extending.md"):
        if block.language == "diff":
            apply = ["git", "apply", "--recount", "-C1", "-"]
            done = subprocess.run(apply, cwd=folder, input=block.text, text=True, capture_output=True)
            assert done.returncode == 0, f"the change of {block.title} does not apply any more:\n{done.stderr}"
    return folder


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def said(program: str) -> str:
    """What the page says that the program prints."""
    shown = next(block.text for block in blocks("extending.md") if block.text.startswith(f"$ python {program}\n"))
    return shown.partition("\n")[2].strip()


def test_the_operator_runs_in_the_sandbox(changed: Path) -> None:
    assert (
        run(changed, "try_operator.py").partition(", seconds")[0] == said("try_operator.py").partition(", seconds")[0]
    )


def test_the_executor_plays_a_search(changed: Path) -> None:
    small = ("rounds=2", "task.validate_size=2", "task.test_size=2", "run_dir=runs/command")
    out = run(
        changed, "-m", "aflow_env.cli", "search", "executor=command", "executor.command=[python3,answer.py]", *small
    )
    assert "stopped by: rounds" in out
    assert "SIMULATED" not in out


def test_the_estimator_computes(changed: Path) -> None:
    pytest.importorskip("torch", reason="needs torch")
    assert run(changed, "try_estimator.py").strip() == said("try_estimator.py")
