# SPDX-License-Identifier: Apache-2.0
"""Every attack succeeds without the layers that stop it and fails with them, as root and as a plain user."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from glob import glob
from pathlib import Path
from typing import Any

import pytest

from aflow_env.sandbox.worker import interpreter
from tests.sandbox.attacks import ATTACKS, ESCAPED, Attack

NOBODY = 65534
ROOT = Path(__file__).resolve().parents[2]
USERS = ["root", "nobody"] if os.geteuid() == 0 else ["user"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")


@pytest.fixture(scope="module")
def arenas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One arena a user, side by side; the records of each by attack, and its layers under ""."""
    source = tmp_path_factory.mktemp("source")
    for folder in (source, *source.parents):  # pytest's own directories are closed to others
        if folder == Path(tempfile.gettempdir()).resolve():
            break
        folder.chmod(0o755)
    for part in (
        "aflow_env/__init__.py",
        "aflow_env/errors.py",
        "aflow_env/jail_limits.py",
        "aflow_env/sandbox",
        "tests/__init__.py",
        "tests/sandbox",
    ):
        (source / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    started = {user: start(user, source) for user in USERS if user != "nobody" or nobodys_interpreter()}
    yield {user: records(process) for user, process in started.items()}
    for process in started.values():
        process.kill()
        process.wait()


def start(user: str, source: Path) -> "subprocess.Popen[str]":
    python, who = (nobodys_interpreter(), NOBODY) if user == "nobody" else (interpreter(), None)
    return subprocess.Popen(
        [str(python), "-B", "-m", "tests.sandbox.arena"],
        cwd=source,
        env={"PLANTED": ESCAPED, "PATH": "/usr/bin:/bin"},
        user=who,
        group=who,
        extra_groups=None if who is None else [],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def records(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in output.splitlines()]
    return {line.get("name", ""): line for line in lines}


@cache
def nobodys_interpreter() -> str | None:
    """An interpreter that a plain user can start: this one may lie in a closed home directory."""
    for python in (interpreter(), *sorted(glob("/usr/bin/python3.1[1-9]"), reverse=True)):
        try:
            test = subprocess.run([python, "-c", "import asyncio"], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
        except OSError:
            continue
        if test.returncode == 0:
            return python
    return None


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(arenas: dict[str, Any], attack: Attack, user: str) -> None:
    if user not in arenas:
        pytest.skip("no interpreter of Python 3.11 or later that user nobody can start")
    layers = " ".join(arenas[user][""]["layers"])
    if missing := [layer for layer in ("landlock", "seccomp") if layer in attack.layers and layer not in layers]:
        pytest.skip(f"this kernel has no {' and no '.join(missing)}")
    if attack.root_only and user != "root":
        pytest.skip("only root could do it at all")
    record = arenas[user][attack.name]
    assert record["control"]["outcome"] == "ok", f"the attack is broken: {record['control']}"
    assert ESCAPED in record["control"]["value"], f"the attack is broken: {record['control']}"
    assert record["jailed"]["outcome"] == attack.outcome, record["jailed"]
    assert record["jailed"]["value"] is None
    assert record["next"] == {**record["next"], "outcome": "ok", "value": "42"}


def test_there_are_fifty_attacks_and_more() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 50
