# SPDX-License-Identifier: Apache-2.0
"""The process that compares formulas is jailed before it hears a model's word: what worked before fails afterwards."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ATTACKS = """
import json, os, socket
from pathlib import Path
from aflow_env.sandbox import math_jail

def fork():
    if os.fork() == 0:
        os._exit(0)
    os.wait()

ATTACKS = {
    "read": lambda: Path("/etc/passwd").read_text(),
    "write": lambda: Path(WRITE).write_text("x"),
    "network": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "exec": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "fork": fork,
    "signal": lambda: os.kill(os.getppid(), 0),
    "library": lambda: __import__("sympy.geometry"),
}

def answer(line):
    outcome = {}
    for name, attack in ATTACKS.items():
        try:
            attack()
            outcome[name] = "ok"
        except OSError as error:
            outcome[name] = type(error).__name__
    return json.dumps(outcome) + "\\n"

math_jail.answer = answer
math_jail.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")
def test_after_the_first_question_the_jail_is_closed(tmp_path: Path) -> None:
    from aflow_env.sandbox.kernel import landlock, seccomp

    if not landlock.version() or not seccomp.available():
        pytest.skip("this kernel has no Landlock or no seccomp")
    code = ATTACKS.replace("WRITE", repr(str(tmp_path / "written")))
    ran = subprocess.run([sys.executable, "-c", code], input="1\n2\n", capture_output=True, text=True, timeout=60)
    before, after = map(json.loads, ran.stdout.splitlines())
    assert set(before.values()) == {"ok"}, "each attack must be real"
    assert {name for name, outcome in after.items() if outcome == "ok"} == {"library"}
    assert set(after.values()) <= {"ok", "PermissionError"}
