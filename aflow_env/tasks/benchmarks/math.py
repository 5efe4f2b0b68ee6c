# SPDX-License-Identifier: Apache-2.0
"""MATH and AIME: competition problems, and the judge that asks jailed processes whether two answers agree.

MATH: fields `problem`, `solution` (with `\\boxed{}`), `level`, `type`. `task.options.scorer` is `verify` (math-verify,
the default) or `aflow`. `task.options.levels` and `.subjects` select problems. AFlow's are level 5 of four subjects:
605 problems of the official test split, 119 validate and 486 test.

AIME: answers are whole numbers 0 to 999. Fields `problem`, `answer`, `id`, in lower case or capitalised. Scored by the
last number of the output's last `\\boxed{}`, or of an output without one.

A process of the judge (math_child.py) runs sandbox/math_jail.py by its path, because this room must not import that
one. It kills itself when a question takes more than `seconds` of processor time, and the answer is wrong. A process
without a reply for WALL_SECONDS is the machine's fault. There are up to CHILDREN, so one slow answer does not delay the
others.
"""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.tasks.dataset import FileTask, Hub, by_text
from aflow_env.tasks.feedback import differs, miss
from aflow_env.tasks.formulas import read_gold
from aflow_env.tasks.problem import Problem, RunTests, Score
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import score_whole_number
from aflow_env.workflow.answers import LONGEST, last_boxed
from aflow_env.workflow.program import TaskSpec

_OPERATORS = ("Custom", "ScEnsemble", "Vote", "Programmer")
MATH = TaskSpec("math", "MATH", _OPERATORS, answers="boxed")
SUBJECTS = ("counting_and_probability", "number_theory", "prealgebra", "precalculus")
HUB = Hub("EleutherAI/hendrycks_math", SUBJECTS, train="train")
SHARE = Fraction(119, 605)
MathScorer = Literal["verify", "aflow"]
CHILDREN = 3
SECONDS = 5.0
WALL_SECONDS = 120.0
_CHILD = Path(__file__).parents[2] / "sandbox" / "math_jail.py"

Child = subprocess.Popen[str]


def math(config: TaskConfig) -> FileTask:
    """Return MATH with the wanted levels and subjects. Raises ConfigError for an unknown scorer."""
    scorer = config.options.get("scorer", "verify")
    if scorer not in ("verify", "aflow"):
        raise ConfigError(f"task.options.scorer={scorer!r}: math has the scorers verify and aflow.")
    levels = tuple(config.options.get("levels") or ())
    subjects = tuple(config.options.get("subjects") or ())

    def convert(record: Record) -> Problem | None:
        if levels and record.text("level") not in levels:
            return None
        if subjects and record.text("type", "subject") not in subjects:
            return None
        return math_problem(record)

    return FileTask(config, MATH, convert, MathJudge(scorer).score, HUB, SHARE, ("scorer", "levels", "subjects"))


def math_problem(record: Record) -> Problem:
    """Read a record of the official files. Raises ConfigError when the solution has no boxed answer."""
    solution = record.text("solution")
    if not last_boxed(solution):
        raise record.error("solution", "has no \\boxed{} answer in it")
    return Problem("", record.text("problem"), solution)


def aime_problem(record: Record) -> Problem:
    """Read a record of a published AIME file. Raises ConfigError unless the answer is 0 to 999."""
    answer = record.text("answer", "Answer").strip()
    if not re.fullmatch(r"[0-9]{1,3}(\.0)?", answer):
        raise record.error("answer", f"should be a whole number 0 to 999, not {answer[:40]!r}")
    own_id = next((record.text(name) for name in ("id", "ID") if name in record.fields), "")
    return Problem(
        f"aime/{own_id}" if own_id else "", record.text("problem", "Problem", "question"), answer.split(".")[0]
    )


aime = partial(
    FileTask,
    spec=TaskSpec("aime", "AIME", _OPERATORS, answers="whole_number"),
    convert=aime_problem,
    judge=by_text(score_whole_number),
    hub=Hub("HuggingFaceH4/aime_2024", whole="train"),
)


def refuses_gold(gold: str) -> str:
    """Return, for `Record.checked`, the reason why no output can be right for this gold, or ""."""
    return "" if len(gold) <= LONGEST and read_gold(gold).value else f"holds no formula ({gold[-40:]!r})"


class MathJudge:
    """Children that start when needed and answer one question at a time, from any thread or event loop."""

    def __init__(self, scorer: MathScorer = "verify", seconds: float = SECONDS) -> None:
        self.scorer = scorer
        self.seconds = seconds
        self._idle: list[Child] = []
        self._threads = ThreadPoolExecutor(CHILDREN, thread_name_prefix="math")

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        """Score as `judge` does, without blocking the event loop."""
        return await asyncio.wrap_future(self._submit(problem.answer, output))

    def judge(self, gold: str, output: str) -> Score:
        """Score 1 when the answers agree, else 0, also for an output that takes too long.

        Only the last LONGEST characters of the output count. Raises ConfigError when math-verify is not installed,
        InfrastructureError when a child does not start or does not reply.
        """
        return self._submit(gold, output).result()

    def close(self) -> None:
        """End the children."""
        self._threads.shutdown()
        while self._idle:
            _end(self._idle.pop())

    def __del__(self) -> None:
        while self._idle:
            _end(self._idle.pop())

    def _submit(self, gold: str, output: str) -> Future[Score]:
        return self._threads.submit(self._judge, {"scorer": self.scorer, "gold": gold, "output": output[-LONGEST:]})

    def _judge(self, question: dict[str, str]) -> Score:
        child = self._child()
        reply = _exchange(child, question)
        if reply is None:
            return Score(0.0, "", False, feedback="the answer cannot be compared in time")
        self._idle.append(child)
        correct, found = bool(reply["correct"]), str(reply["extracted"])
        gold, output = question["gold"], question["output"]
        why = differs(last_boxed(gold) or gold, last_boxed(output) or found) if found else "no formula found"
        return Score(float(correct), found, correct, feedback=miss(correct, output, why))

    def _child(self) -> Child:
        """Return a child that waits and is alive, or a new one."""
        while True:
            try:
                child = self._idle.pop()
            except IndexError:  # asking first would be a race with another thread
                return self._start()
            if child.poll() is None:
                return child
            _end(child)

    def _start(self) -> Child:
        child = subprocess.Popen(
            [sys.executable, "-I", str(_CHILD), str(self.seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={},
            cwd="/",
            start_new_session=True,
        )
        if _exchange(child, {"scorer": self.scorer, "gold": "$1$", "output": "$\\frac{2}{2}$"}) is None:
            raise _explain_failed_start()
        return child


def _exchange(child: Child, question: dict[str, str]) -> dict[str, object] | None:
    """Return the child's answer, None when the question killed it.

    Raises InfrastructureError when it does not reply, or when the machine killed it.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    late = threading.Event()

    def stop() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(WALL_SECONDS, stop)
    timer.start()
    line = ""
    try:
        child.stdin.write(json.dumps(question) + "\n")
        child.stdin.flush()
        line = child.stdout.readline()
    except BrokenPipeError:
        pass  # it died, so there is no line
    finally:
        timer.cancel()
        if not line.endswith("\n"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(1.0)  # for its own exit code
            _end(child)
    if late.is_set():
        raise InfrastructureError(f"the process that compares mathematical answers was silent for {WALL_SECONDS:.0f} s")
    if child.returncode == -signal.SIGKILL:  # a question ends by the timer's signal, or by a fault of its own
        raise InfrastructureError("the process that compares mathematical answers was killed: is memory short?")
    return json.loads(line) if line.endswith("\n") else None


def _end(child: Child) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()


def _explain_failed_start() -> Exception:
    from importlib.util import find_spec

    missing = [name for name in ("math_verify", "latex2sympy2_extended") if find_spec(name) is None]
    if missing:
        return ConfigError(f"mathematics is scored by math-verify; missing: {missing}. pip install 'aflow-env[math]'.")
    return InfrastructureError("the process that compares mathematical answers died while starting")
