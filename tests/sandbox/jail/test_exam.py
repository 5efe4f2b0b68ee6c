# SPDX-License-Identifier: Apache-2.0
"""A solution is judged by tests that it cannot see, touch or answer for.

Honest solutions pass: tests/tasks/benchmarks/test_humaneval_mbpp.py has those of the published data.
"""

from collections.abc import AsyncIterator

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
    try: os.write(fd, b'{"id":1,"value":31337,"changed":[]}\\n')
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


FORGED = {
    "a-name-of-the-tests": '{"value": {"p": "builtins:eval"}}',
    "a-function-of-the-library": '{"value": {"p": "os:_exit"}}',
    "a-module": '{"value": {"m": "os"}}',
    "a-type-that-is-not-listed": '{"value": {"k": ["type", ["T", {"t": []}, {"d": []}]]}}',
    "an-exception-that-ends": '{"raises": {"e": ["SystemExit", [0]]}, "name": "x", "text": "", "blocked": false}',
    "an-object-of-the-tests": '{"value": {"y": 0}}',
    "an-object-from-the-end": '{"value": {"y": -1}}',
    "a-container-that-is-not-shared": '{"value": {"a": 7}}',
    "a-change-to-nothing": '{"value": null, "changed": [[5, [1]]]}',
    "a-change-from-the-end": '{"value": null, "changed": [[-1, [1]]]}',
    "no-value": '{"valu": 31337}',
    "two-tags": '{"value": {"i": "0x1", "f": "1"}}',
    "another-id": '{"id": 2, "value": 31337, "changed": []}',
    "a-verdict": '{"end": 0, "outcome": "ok", "value": true}',
    "a-verdict-on-the-tests": '{"end": 0, "outcome": "unfit", "error": "x"}',
    "ready-again": '{"ready": true, "entry": "function"}',
    "operators-of-no-type": '{"value": {"o": [5, 5, "x", [["__eq__"]]]}}',
    "names-that-are-none": '{"value": {"n": ["T", ["a b", "class"], [1, 2]]}}',
    "an-end-of-iteration": '{"stopped": true}',
    "a-zero-denominator": '{"value": {"k": ["Fraction", [1, 0]]}}',
    "an-unhashable-key": '{"value": {"d": [[[1], 2]]}}',
}
RAW = """
import json, os, stat, time
def f(n):
    for fd in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, (json.dumps({"id": 1} | json.loads(FORGED)) + chr(10)).encode())
        except OSError: pass
    time.sleep(20)
"""


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_frame_is_a_violation(sandbox: Sandbox, name: str) -> None:
    """Names, types and sizes of the solution's frames are checked on the judge's side; the tests cannot swallow it."""
    tests = "try:\n    f(2)\nexcept BaseException: pass"
    run = await sandbox.run_tests(RAW.replace("FORGED", repr(FORGED[name])), tests, "f", 10)
    assert run.outcome == "violation" or (name.startswith("a-verdict") and run.outcome == "crash"), run
    honest = await sandbox.run_tests(RAW.replace("FORGED", repr('{"value": 1, "changed": []}')), "f(2)", "f", 10)
    assert honest.outcome == "ok", honest


SHADOWS = {
    "abs": (
        "def abs(x): return 0\ndef f(x): return 5.0",
        "def check(candidate): assert abs(candidate(1) - 2.0) < 1e-6",
    ),
    "set": ("def set(x): return 0\ndef f(x): return ()", "assert set(f(1)) == set((4, 5))"),
    "sorted": ("def sorted(x): return 0\ndef f(x): return []", "assert sorted(f(1)) == sorted([1, 3])"),
    "range": (
        "def range(*a): return []\ndef f(x): return 0",
        "def check(candidate):\n    candidate(0)\n    for i in range(3): assert candidate(i) == i",
    ),
    "math": (
        "class math: isclose = lambda *a, **k: True\ndef f(x): return 0",
        "import math\nassert math.isclose(f(1), 3.5)",
    ),
    "a-module": (
        "import sys, types\nsys.modules['math'] = types.SimpleNamespace(isclose=lambda *a: True)\ndef f(x): return 0",
        "import math\nassert math.isclose(f(1), 3.5)",
    ),
    "the-builtins": (
        "import builtins\nbuiltins.abs = lambda x: 0\n__builtins__ = {'abs': abs}\ndef f(x): return 5",
        "assert abs(f(1) - 2) < 1",
    ),
    "import": ("def __import__(*a): return __import__\ndef f(x): return 0", "import math\nassert f(1) == math.pi"),
    "check": ("def check(c): pass\ndef f(x): return 0", "def check(candidate): assert candidate(1) == 1"),
    "candidate": ("def candidate(x): return 1\ndef f(x): return 0", "def check(candidate): assert candidate(1) == 1"),
    "an-assertion": (
        "class AssertionError(Exception): pass\ndef f(x): raise AssertionError",
        "def check(candidate): assert candidate(1) == 1",
    ),
    "another-entry-point": ("def f(x): return 0\nf.__class__ = type(f)\n__name__ = 'tests'", "assert f(1) == 1"),
    "an-iteration": ("def f(x): raise StopIteration", "assert all(map(lambda n: f(n) == n, [1, 2]))\n"),
    "an-iterators-end": (
        "def f(x):\n    def g(): raise StopIteration\n    return g",
        "assert all(map(lambda n: f(n)() == n, [1, 2]))",
    ),
    "its-input": (
        "def f(x):\n    x.clear()\n    return x",
        "def check(candidate):\n    x = [3, 1]\n    assert candidate(x) == sorted(x)",
    ),
    "the-expected-value": (
        "def f(x):\n    x[:] = [0]\n    return [0]",
        "def check(candidate):\n    want = [1]\n    assert candidate(want) == want",
    ),
    "a-function-it-was-given": (
        "def f(g):\n    g.__code__ = (lambda n: 0).__code__\n    return 0",
        "def g(n): return n\nassert f(g) == g(5)",
    ),
    "the-globals-of-a-function": (
        "def f(g): return g.__globals__['SECRET']",
        "SECRET = 31337\ndef g(n): return n\nassert f(g) == SECRET",
    ),
    "the-frame-of-a-generator": (
        "def f(g): return g.gi_frame.f_globals['SECRET']",
        "SECRET = 31337\nassert f(n for n in [1]) == SECRET",
    ),
    "the-class-of-an-object": (
        "def f(o):\n    o.same = lambda: True\n    o.__class__.same = lambda s: True\n    return 0",
        "class O:\n    def same(self): return False\no = O()\nassert f(o) == 0 and o.same()",
    ),
    "a-private-name": ("def f(o): return o._secret", "class O: _secret = 31337\nassert f(O()) == 31337"),
    "the-subclasses": (
        "def f(o): return [c for c in o.__class__.__mro__[-1].__subclasses__()]",
        "class O: pass\nassert f(O()) == 1",
    ),
    "a-true-int": (
        "class Y(int):\n    def __eq__(s, o): return True\n    def __hash__(s): return 0\ndef f(x): return Y(1)",
        "assert f(5) == 35",
    ),
    "a-true-list": ("class Y(list):\n    def __eq__(s, o): return True\ndef f(x): return Y()", "assert f(5) == [35]"),
    "a-true-text": (
        "class Y(str):\n    def __eq__(s, o): return True\n    def __ne__(s, o): return False\ndef f(x): return Y()",
        "assert not f(5) != 'x'",
    ),
    "a-true-float-in-a-list": (
        "class Y(float):\n    def __sub__(s, o): return 0\n    def __rsub__(s, o): return 0\ndef f(x): return [Y(1)]",
        "assert abs(f(5)[0] - 2.5) < 1e-6",
    ),
    "all-hashes": (
        "class Y:\n    def __hash__(s): return hash(35)\n    def __eq__(s, o): return True\ndef f(x): return Y()",
        "assert f(5) in {35}",
    ),
}


@pytest.mark.parametrize("name", SHADOWS)
async def test_a_solution_decides_nothing_but_its_own_results(sandbox: Sandbox, name: str) -> None:
    """Only the entry point comes from the solution: no name, module, input or object of the tests does."""
    run = await sandbox.run_tests(*SHADOWS[name], "f", 20)
    assert run.outcome in ("crash", "violation"), run


async def test_the_process_of_the_tests_survives_what_it_returns(sandbox: Sandbox) -> None:
    """What a solution returns runs in its own process, where leaving early is a crash."""
    for body in ("import os; return os._exit", "import sys; return sys.exit", "return exit_later"):
        solution = f"import os\ndef exit_later(*a): os._exit(0)\ndef f(n):\n    {body}"
        run = await sandbox.run_tests(solution, "f(1)(0)\nassert f(2) == 1", "f", 20)
        assert run.outcome == "crash", run
