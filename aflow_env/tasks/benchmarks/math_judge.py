# SPDX-License-Identifier: Apache-2.0
"""Asks a jailed process whether two answers of mathematics agree (math_child.py says how); kills it when it is late.

The process is the script sandbox/math_jail.py: that room is above this one, so it is started by its path.
"""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal

from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.tasks.base import Score

MathScorer = Literal["verify", "aflow"]
SECONDS = 10.0
STARTUP_SECONDS = 60.0
LONGEST = 20_000
_CHILD = Path(__file__).parents[2] / "sandbox" / "math_jail.py"


class MathJudge:
    """One child, started when first needed and asked one question at a time; usable from any thread or event loop."""

    def __init__(self, scorer: MathScorer = "verify", seconds: float = SECONDS) -> None:
        self.scorer = scorer
        self.seconds = seconds
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    async def score(self, gold: str, output: str) -> Score:
        """As `judge`, without blocking the event loop."""
        return await asyncio.to_thread(self.judge, gold, output)

    def judge(self, gold: str, output: str) -> Score:
        """1 when the answers agree, else 0; an output that the child cannot judge in time is wrong (its own doing).

        Only the last LONGEST characters of the output are read. Raises ConfigError when math-verify is not installed,
        InfrastructureError when the child cannot be started.
        """
        with self._lock:
            reply = self._ask({"scorer": self.scorer, "gold": gold, "output": output[-LONGEST:]})
        if reply is None:
            return Score(0.0, "", False)
        correct = bool(reply["correct"])
        return Score(float(correct), str(reply["extracted"]), correct)

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._stop()

    def __del__(self) -> None:
        self._stop()

    def _ask(self, question: dict[str, str]) -> dict[str, object] | None:
        child = self._child or self._start()
        answer = _exchange(child, question, self.seconds)
        if answer is None:
            self._stop()
        return answer

    def _start(self) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={},
            cwd="/",
            start_new_session=True,
        )
        self._child = child
        warm_up = _exchange(child, {"scorer": self.scorer, "gold": "$1$", "output": "$\\frac{2}{2}$"}, STARTUP_SECONDS)
        if warm_up is None:
            self._stop()
            raise _explain_failed_start()
        return child

    def _stop(self) -> None:
        child, self._child = getattr(self, "_child", None), None
        if child is not None:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    stream.close()


def _exchange(child: subprocess.Popen[str], question: dict[str, str], seconds: float) -> dict[str, object] | None:
    """The child's answer, or None when it died or was killed for being late."""
    assert child.stdin is not None
    assert child.stdout is not None
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        child.stdin.write(json.dumps(question) + "\n")
        child.stdin.flush()
        line = child.stdout.readline()
    except BrokenPipeError:
        return None
    finally:
        timer.cancel()
    return json.loads(line) if line.endswith("\n") else None


def _explain_failed_start() -> Exception:
    from importlib.util import find_spec

    missing = [name for name in ("math_verify", "latex2sympy2_extended") if find_spec(name) is None]
    if missing:
        return ConfigError(f"mathematics is scored by math-verify; missing: {missing}. pip install 'aflow-env[math]'.")
    return InfrastructureError("the process that compares mathematical answers died while starting")
