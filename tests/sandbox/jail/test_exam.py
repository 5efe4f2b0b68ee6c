# SPDX-License-Identifier: Apache-2.0
"""A solution is judged by tests that it cannot see, touch or answer for; honest solutions pass."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from aflow_env.sandbox.pool import Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

TESTS = """
SECRET = 31337
def check(candidate):
    assert candidate(2) == SECRET
    assert candidate(3) == SECRET + 1
"""

CHEATS = {
    "leaves-early": "import os\ndef f(n): os._exit(0)",
    "leaves-on-load": "import os; os._exit(0)",
    "exits": "import sys\ndef f(n): sys.exit(0)",
    "equals-everything": """
class Yes:
    def __eq__(self, other): return True
def f(n): return Yes()
""",
    "number-that-equals-everything": """
class Yes(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def f(n): return Yes(5)
""",
    "reads-the-caller": """
import sys
def f(n):
    frame = sys._getframe()
    while frame:
        if "SECRET" in frame.f_globals: return frame.f_globals["SECRET"] + n - 2
        frame = frame.f_back
""",
    "reads-the-heap": """
import gc
def f(n):
    for o in gc.get_objects():
        if isinstance(o, dict) and o.get("SECRET"): return o["SECRET"] + n - 2
""",
    "replaces-the-check": """
import sys
def f(n):
    for module in (sys._getframe(1).f_globals, sys._getframe(2).f_globals):
        module["check"] = lambda c: None
        module["SECRET"] = 0
    return n - 2
""",
    "patches-the-machinery": """
import builtins, sys
for module in list(sys.modules.values()):
    if hasattr(module, "Judge"): module.Judge.judge = lambda *a: True
builtins.AssertionError = Exception
def check(candidate): pass
def f(n): return 0
""",
    "writes-the-verdict": """
import os
for fd in range(3, 64):
    try: os.write(fd, b'{"end":0,"outcome":"ok","value":true}\\n')
    except OSError: pass
def f(n): return 0
""",
    "writes-the-verdict-when-asked": """
import os
def f(n):
    for fd in range(3, 64):
        try: os.write(fd, b'{"end":0,"outcome":"ok","value":true}\\n')
        except OSError: pass
    return 0
""",
    "answers-ahead": """
import os
for fd in range(3, 64):
    try: os.write(fd, b'{"id":1,"value":31337,"changed":{}}\\n')
    except OSError: pass
def f(n): return 0
""",
    "reads-the-process": "def f(n): return open('/proc/self/mem').read() and 0",
}


async def same_process(sandbox: Sandbox, solution: str) -> str:
    """The control: tests and solution in one process, as others run them."""
    code = f"{solution}\n{TESTS}\ndef judge():\n    check(f)\n    return 'passed'"
    run = await sandbox.run_code(code, "judge", [], 20)
    return str(run.value) if run.outcome == "ok" else run.error


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("name", CHEATS)
async def test_a_cheat_does_not_pass(sandbox: Sandbox, name: str) -> None:
    run = await sandbox.run_tests(CHEATS[name], TESTS, "f", 20)
    assert run.outcome in ("crash", "violation"), run
    assert "31337" not in run.error
    honest = await sandbox.run_tests("def f(n): return 31335 + n", TESTS, "f", 20)
    assert honest.outcome == "ok", honest


PASS_IN_ONE_PROCESS = (
    "equals-everything",
    "number-that-equals-everything",
    "reads-the-caller",
    "reads-the-heap",
    "replaces-the-check",
    "writes-the-verdict",
    "writes-the-verdict-when-asked",
)


@pytest.mark.parametrize("name", PASS_IN_ONE_PROCESS)
async def test_the_same_cheat_passes_in_one_process(sandbox: Sandbox, name: str) -> None:
    assert await same_process(sandbox, CHEATS[name]) in ("passed", "True")


async def test_a_loop_is_a_timeout_and_a_wrong_answer_a_failed_assertion(sandbox: Sandbox) -> None:
    loop = await sandbox.run_tests("def f(n):\n    while True: pass", TESTS, "f", 1)
    assert loop.outcome == "timeout"
    wrong = await sandbox.run_tests("def f(n): return 0", TESTS, "f", 20)
    assert (wrong.outcome, wrong.error) == ("crash", "AssertionError")
    told = await sandbox.run_tests("def f(n): return 0", "assert f(1) == 99, 'wanted 99'", "f", 20)
    assert "99" not in told.error
    broken = await sandbox.run_tests("def f(n): return 1 / 0", TESTS, "f", 20)
    assert broken.error == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("solution", "tests"),
    [
        (
            "def f(a): return (1, {2: [3]}, {4}, b'5', 6j, None, 10**40, float('inf'))",
            "assert f(0) == (1, {2: [3]}, {4}, b'5', 6j, None, 10**40, float('inf')) and type(f(0)) is tuple",
        ),
        ("def f(a): a.append(1); a.sort()", "x = [3, 2]; f(x)\nassert x == [1, 2, 3]"),
        ("def f(a):\n    for i in range(a): yield i", "assert list(f(3)) == [0, 1, 2]"),
        (
            "class P:\n    def __init__(self, x): self.x = x\ndef f(ps): return sum(p.x for p in ps)",
            "p = P(2); p.x += 1\nassert f([p, P(4)]) == 7 and p.x == 3",
        ),
        ("def f(a): return lambda b: a + b", "assert f(1)(2) == 3"),
        ("def f(a): raise KeyError(a)", "try: f('k')\nexcept KeyError as e: assert 'k' in str(e)\nelse: assert False"),
        ("import math\ndef g(x): return x * 2\ndef f(x): return x", "assert g(f(2)) == math.sqrt(16)"),
        ("async def f(a): return a", "assert f(3) == 3"),
        (
            "from collections import *\nT = namedtuple('T', 'a b')\ndef f(a): return [Counter(a), T(1, 2)]",
            "assert f('aab') == [{'a': 2, 'b': 1}, (1, 2)]",
        ),
        ("def f(*, a=1, **k): return [a, k]", "assert f(a=2, z=3) == [2, {'z': 3}]"),
    ],
)
async def test_values_travel(sandbox: Sandbox, solution: str, tests: str) -> None:
    run = await sandbox.run_tests(solution, tests, "f", 20)
    assert run.outcome == "ok", run


async def test_published_solutions_pass_their_published_tests(sandbox: Sandbox, shared: Path) -> None:
    """A sample of HumanEval and MBPP: splitting tests from solution changes no honest verdict."""
    human = [json.loads(line) for line in (shared / "data/humaneval/validate.jsonl").read_text().splitlines()]
    basic = [json.loads(line) for line in (shared / "data/mbpp/validate.jsonl").read_text().splitlines()]
    for row in human:
        run = await sandbox.run_tests(row["prompt"] + row["canonical_solution"], row["test"], row["entry_point"], 30)
        assert run.outcome == "ok", (row["task_id"], run)
    for row in basic[::4]:
        tests = "\n".join([row["test_setup_code"], *row["test_list"]])
        run = await sandbox.run_tests(row["code"], tests, "", 30)
        assert run.outcome == "ok", (row["task_id"], run)
