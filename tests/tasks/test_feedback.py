# SPDX-License-Identifier: Apache-2.0
"""The texts of built-in scorers: what they say, and that nothing of the hidden tests reaches them."""

import json
from pathlib import Path

import pytest

from aflow_env.sandbox.pool import Sandbox
from aflow_env.tasks import Problem, load_task
from aflow_env.tasks.benchmarks.math import MathJudge
from aflow_env.tasks.scorers import SHORT, score_code
from tests.tasks.benchmarks.test_livecodebench import RIGHT, record, write
from tests.tasks.support import config

ADD = Problem(
    id="add",
    prompt="Write add(a, b).",
    answer="",
    entry_point="add",
    public_tests=(
        "assert add(1, 2) == 3",
        "import math\nassert math.isclose(add(0.5, 0.5), 1)",
        "assert 9 == add(4, 5)",
    ),
    hidden_tests="def check(candidate):\n    assert candidate(4141, 4242) == 8383, 'the hidden text'\n",
)
HIDDEN = ("4141", "4242", "8383", "hidden text", "tests.py", "AssertionError")


@pytest.mark.parametrize(
    ("scorer", "gold", "output", "feedback"),
    [
        ("number", "#### 12", "It is 12.", ""),
        ("number", "#### 12", "It is 13.", "expected 12, got 13"),
        ("number", "#### 12", "I do not know.", "no number found"),
        ("number", "#### 12", " \n", "the output is empty"),
        ("whole_number", "073", r"\boxed{74}", "expected 73, got 74"),
        ("whole_number", "073", "none", "no whole number found"),
        ("same_text", "New York", "York", "expected New York, got York"),
        ("same_text", "New York", "York\n" * 100, f"expected New York, got {'York ' * 15}Yo..."),
        ("f1", "red house", "a red bike stood over there", "F1 is 0.29: expected red house, got a red bike"),
        ("f1", "the red house", "red house", ""),
        ("alternatives", "3|three", "four", "F1 is 0.00: expected 3|three, got four"),
    ],
)
def test_a_text_scorer_says_expected_and_got(scorer: str, gold: str, output: str, feedback: str) -> None:
    """A right answer has no text; a wrong one has the gold, which the proposer sees anyway, and what was read."""
    said = SHORT[scorer].score(gold, output).feedback
    assert said.startswith(feedback)
    assert bool(said) == bool(feedback)
    assert len(said) < 250
    assert "\n" not in said


def test_formulas_are_shown_as_they_were_read() -> None:
    """The gold's box and the output's; an output without a formula is named as such."""
    judge = MathJudge()
    try:
        assert judge.judge(r"So $\boxed{\frac12}$.", r"\boxed{0.5}").feedback == ""
        assert judge.judge(r"So $\boxed{\frac12}$.", r"I get \boxed{2}.").feedback == r"expected \frac12, got 2"
        assert judge.judge(r"So $\boxed{\frac12}$.", "").feedback == "the output is empty"
    finally:
        judge.close()


@pytest.mark.parametrize(
    ("solution", "feedback"),
    [
        ("def add(a, b): return a + b", ""),
        ("def add(a, b): return a - b", "public test assert add(1, 2) == 3: expected 3, got -1"),
        ("def add(a, b): return 3", "public test assert math.isclose(add(0.5, 0.5), 1): it is false"),
        (
            "def add(a, b): return {3: 3, 1.0: 1}.get(a + b, 'x')",
            "public test assert 9 == add(4, 5): expected 9, got 'x'",
        ),
        ("def add(a, b): return None[0]", "public test assert add(1, 2) == 3: TypeError: 'NoneType' object"),
        ("def add(a, b): return a + b if a < 99 else 0", "public tests passed: 3; the hidden tests fail"),
        ("def sub(a, b): return a - b", "NameError: the solution does not define add"),
        ("x: List = []\ndef add(a, b): return a + b", "NameError: name 'List' is not defined"),
        ("def add(a, b): return object()", "public test assert add(1, 2) == 3: "),
        ("", "no code found"),
    ],
)
async def test_code_is_told_the_public_test_that_fails(solution: str, feedback: str) -> None:
    """Expected and got of the first public test that fails, else that only the hidden tests do."""
    async with Sandbox() as sandbox:
        score = await score_code(ADD, f"```python\n{solution}\n```" if solution else "", sandbox.run_tests)
    assert score.feedback.startswith(feedback)
    assert score.correct == (not score.feedback)
    assert "0x" not in score.feedback


async def test_public_tests_that_judge_nothing_end_no_search() -> None:
    """A mistake in a task's public test is told in the text, and the hidden tests decide."""
    broken = Problem("p", "", "", "f", ("assert undefined(1)", "assert f("), "assert f(1) == 1")
    async with Sandbox() as sandbox:
        wrong = await score_code(broken, "def f(x): return 2", sandbox.run_tests)
        right = await score_code(broken, "def f(x): return 1", sandbox.run_tests)
    assert (wrong.value, right.value) == (0.0, 1.0)
    assert wrong.feedback == "public test assert undefined(1): NameError: name 'undefined' is not defined"


THIEVES = {
    "raises the arguments": """
def add(a, b):
    raise ValueError(f"{a} {b}")
""",
    "raises them under the judge's names": """
KINDS = [AssertionError, *(type(name, (Exception,), {}) for name in ("Wrong", "Refused", "FrameError"))]
def add(a, b):
    raise KINDS[a % 4](f"Refused: {a} {b}")
""",
    "prints them": """
import sys
def add(a, b):
    print(a, b, flush=True)
    print(a, b, file=sys.stderr)
    return 1
""",
    "returns them": """
def add(a, b):
    return f"{a} {b}"
""",
    "shows them in a repr": """
class Shown:
    def __repr__(self): return TOLD[-1]
    def __eq__(self, other): return False
TOLD = []
def add(a, b):
    TOLD.append(f"{a} {b}")
    return Shown()
""",
    "walks the frames": """
import sys
def add(a, b):
    frame, found = sys._getframe(), []
    while frame:
        found.append(str(frame.f_locals)[:4000])
        frame = frame.f_back
    raise ValueError(str(found))
""",
    "searches the memory": """
import gc
def add(a, b):
    texts = [each for each in gc.get_objects() if isinstance(each, str) and "candidate(" in each]
    raise ValueError(str(texts)[:300])
""",
    "leaves a file": """
import tempfile
PLACES = ["note", "/tmp/aflow_note", "/dev/shm/aflow_note", tempfile.gettempdir() + "/aflow_note"]
def add(a, b):
    for place in PLACES:
        try:
            kept = open(place).read()
        except OSError:
            kept = ""
        if kept:
            raise ValueError(kept)
        try:
            open(place, "w").write(f"{a} {b}")
        except OSError:
            pass
    return 0
""",
    "leaves a variable": """
import builtins, os
def add(a, b):
    kept = os.environ.get("NOTE", "") + str(getattr(builtins, "note", ""))
    os.environ["NOTE"] = builtins.note = f"{a} {b}"
    raise ValueError(kept)
""",
    "passes the public tests and raises": """
def add(a, b):
    if a > 99:
        raise ValueError(f"{a} {b}")
    return a + b
""",
    "passes the public tests and is killed": """
import os
def add(a, b):
    if a > 99:
        os.kill(os.getpid(), 9)
    return a + b
""",
    "passes the public tests and is slow": """
def add(a, b):
    while a > 99:
        pass
    return a + b
""",
}


@pytest.mark.parametrize("name", THIEVES)
async def test_no_solution_carries_a_hidden_test_into_its_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the arguments, which the solution is called with, not the expected value, not how the hidden run ended."""
    monkeypatch.setattr("aflow_env.tasks.scorers.SECONDS", 3.0)
    async with Sandbox() as sandbox:
        score = await score_code(ADD, THIEVES[name], sandbox.run_tests)
        again = await score_code(ADD, THIEVES[name], sandbox.run_tests)
    assert not score.correct
    assert score.feedback
    for text in (score.feedback, again.feedback):
        assert not any(secret in text for secret in HIDDEN), text
    if name.startswith("passes"):
        assert score.feedback == "public tests passed: 3; the hidden tests fail"


WRONG_PROGRAM = "print(99)"
LEAKING_PROGRAM = """
a, b = map(int, input().split())
if b:
    raise ValueError(f"{a} {b}")
print(a + b)
"""
WRONG_CLASS = """
class Solution:
    def total(self, k, items):
        return 99
"""
LEAKING_CLASS = """
class Solution:
    def total(self, k, items):
        if items[0]:
            raise ValueError(f"{k} {items}")
        return [k, sum(items)]
"""


@pytest.mark.parametrize("kind", ["main", "Solution"])
async def test_livecodebench_tells_public_cases_alone(tmp_path: Path, kind: str) -> None:
    """A public case has input, output and expected; a private one has no word, whatever the solution raises."""
    task = load_task(config("livecodebench", write(tmp_path, [record(n) for n in range(2)])))
    problem = next(each for each in task.load("test") if each.entry_point == kind)
    wrong, leaks = {"main": (WRONG_PROGRAM, LEAKING_PROGRAM), "Solution": (WRONG_CLASS, LEAKING_CLASS)}[kind]
    async with Sandbox() as sandbox:
        assert (await task.score(problem, RIGHT[kind][0], sandbox.run_tests)).feedback == ""
        told = (await task.score(problem, wrong, sandbox.run_tests)).feedback
        silent = (await task.score(problem, leaks, sandbox.run_tests)).feedback
        empty = (await task.score(problem, "", sandbox.run_tests)).feedback
    assert "99" in told
    assert "expected" in told
    assert silent == "public tests passed: 1; the hidden tests fail"
    assert empty == "no code found"


def test_the_gold_of_a_text_is_one_that_the_proposer_sees(tmp_path: Path) -> None:
    """The state of a failed case holds `Problem.answer` whole, and a text no other field of the record."""
    rows = [{"q": f"How many? {n}", "a": n, "secret": f"secret {n}"} for n in range(5)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "t.yaml").write_text('name: t\npath: t.jsonl\nprompt: "{q}"\nanswer: "{a}"\nscorer: number\n')
    for problem in load_task(config(str(tmp_path / "t.yaml"))).load("test"):
        said = SHORT["number"].score(problem.answer, "77").feedback
        assert said == f"expected {problem.answer}, got 77"
