# SPDX-License-Identifier: Apache-2.0
"""LiveCodeBench: realistic records of both kinds, packed tests, and what must not be unpacked."""

import base64
import json
import pickle
import zlib
from pathlib import Path

import pytest

from aflow_env.errors import ConfigError
from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.pool import Sandbox
from aflow_env.tasks import load_task
from tests.tasks.support import accepted, config


def case(given: str, wanted: str, kind: str = "stdin") -> dict[str, str]:
    return {"input": given, "output": wanted, "testtype": kind}


def packed(cases: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def record(number: int, **changes: object) -> dict[str, object]:
    """Add up: read two numbers (even), or a method of a class (odd)."""
    if number % 2:
        cases = [case(f"{number}\n[{n}, 2]", f"[{number}, {n + 2}]", "functional") for n in range(3)]
        own = {
            "starter_code": "class Solution:\n    def total(self, k: int, items: List[int]):\n        ",
            "metadata": '{"func_name": "total"}',
        }
    else:
        cases = [case(f"{number} {n}\n", f"{number + n}\n", "stdin") for n in range(3)]
        own = {"starter_code": "", "metadata": "{}"}
    return {
        "question_id": f"q{number}",
        "question_content": f"Add up, variant {number}.",
        "public_test_cases": json.dumps(cases[:1]),
        "private_test_cases": packed(cases[1:]),
        **own,
        **changes,
    }


def write(folder: Path, records: list[dict[str, object]]) -> Path:
    (folder / "test.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    return folder


RIGHT = {
    "main": [
        "def main():\n    a, b = map(int, input().split())\n    print(a + b)",
        "import sys\na, b = map(int, sys.stdin.read().split())\nprint(f'{a + b}.0')",
        "import sys\ndef main():\n    print(sum(map(int, sys.stdin.buffer.readline().split())))\n"
        "if __name__ == '__main__':\n    main()",
        "print(sum(map(int, input().split())))\nexit()",
    ],
    "Solution": ["class Solution:\n    def total(self, k, items):\n        return (k, sum(items))"],
}
WRONG = {
    "main": ["def main():\n    input()\n    print(3)", "", "print(1", "while True: pass"],
    "Solution": [
        "class Solution:\n    def total(self, k, items):\n        return [k, 2]",
        "def total(k, items): return [k, sum(items)]",
    ],
}


async def test_scores_twenty_problems_right_and_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task(config("livecodebench", write(tmp_path, [record(n) for n in range(20)])))
    problems = task.load("test")
    assert len(problems) == 20
    async with Sandbox() as sandbox:
        for index, problem in enumerate(problems):
            right = RIGHT[str(problem.entry_point)]
            reply = f"```python\n{right[index // 2 % len(right)]}\n```"
            assert (await task.score(problem, reply, sandbox.run_tests)).value == 1.0, (problem.id, reply)
        monkeypatch.setattr("aflow_env.tasks.benchmarks.livecodebench.SECONDS", 3.0)  # one of them never ends
        for index, problem in enumerate(problems[:8]):
            wrong = WRONG[str(problem.entry_point)]
            reply = wrong[index // 2 % len(wrong)]
            assert (await task.score(problem, reply, sandbox.run_tests)).value == 0.0, (problem.id, reply)


def test_private_tests_stay_hidden_and_public_ones_run(tmp_path: Path) -> None:
    task = load_task(config("livecodebench", write(tmp_path, [record(n) for n in range(2)])))
    for problem in task.load("test"):
        visible = problem.prompt + "".join(problem.public_tests)
        assert len(problem.public_tests) == 1
        assert problem.hidden_tests.count("'") > 0
        assert "[2, 2]" not in visible
        assert "0 2" not in visible
        scope: dict[str, object] = {}
        exec(RIGHT[str(problem.entry_point)][0], scope)
        scope["candidate"] = scope[str(problem.entry_point)]
        exec(problem.public_tests[0], scope)
        if "check" in scope:
            scope["check"](scope["candidate"])  # type: ignore[operator]


async def test_the_operator_test_sees_the_prelude_of_the_hidden_tests(tmp_path: Path) -> None:
    """The official starter names `List` without importing it; what passes hidden tests passes public ones."""
    task = load_task(config("livecodebench", write(tmp_path, [record(n) for n in range(2)])))
    starter = "class Solution:\n    def total(self, k: int, items: List[int]) -> List[int]:\n        return [k, {}]"
    program = (
        "from __future__ import annotations\ndef main() -> None:\n    print(reduce(add, map(int, input().split())){})"
    )
    codes = {
        "Solution": (starter.format("sum(items)"), starter.format("7")),
        "main": (program.format(""), program.format(" + 1")),
    }
    async with Sandbox() as sandbox:
        for problem in task.load("test"):
            right, wrong = codes[str(problem.entry_point)]
            assert (await task.score(problem, right, sandbox.run_tests)).correct
            assert await accepted(sandbox, problem, right)
            assert not await accepted(sandbox, problem, wrong)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"private_test_cases": base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode()}, "wants builtins.eval"),
        ({"private_test_cases": "!!"}, "is neither JSON nor packed JSON"),
        ({"private_test_cases": "[1]"}, "should be a list of objects"),
        ({"public_test_cases": "[]", "private_test_cases": "[]"}, "holds no test"),
        ({"starter_code": "class Solution: ...", "metadata": "{}"}, "should be JSON with `func_name`"),
        ({"starter_code": "class Solution: ...", "metadata": '{"func_name": "a b"}'}, "no usable func_name"),
    ],
)
def test_bad_records_are_named_and_pickles_run_nothing(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    task = load_task(config("livecodebench", write(tmp_path, [record(0), record(2, **changes)])))
    with pytest.raises(ConfigError, match=rf"test\.jsonl line 2, field .*{complaint}"):
        task.load("test")


SUMS = [
    "import sys\nprint(sum(int(x) for line in sys.stdin for x in line.split()))",
    "import os\nprint(sum(map(int, os.read(0, 1000).split())))",
    "print(sum(map(int, open('/dev/stdin').read().split())))",
    "import os, sys\nos.write(1, str(sum(map(int, open(0).read().split()))).encode())",
    "import sys\nsys.stdout.buffer.write(str(sum(map(int, sys.stdin.buffer.read().split()))).encode())",
    "import io, os\nline = io.BytesIO(os.read(0, os.fstat(0).st_size)).readline()\nprint(sum(map(int, line.split())))",
    "def main():\n    with open(0) as file:\n        print(sum(map(int, file.read().split())))\n    sys.stdout.close()",
    "from __future__ import annotations\nprint(sum(map(int, input().split()))); raise SystemExit",
    "c = Counter(map(int, input().split()))\nprint(sum(k * n for k, n in c.items()))",
]
DEEP = [
    "def depth(n):\n    return 0 if n == 0 else 1 + depth(n - 1)\nprint(depth(40_000))",
    "@lru_cache(None)\ndef depth(n):\n    return 0 if n == 0 else 1 + depth(n - 1)\nprint(2 * depth(20_000))",
    "def depth(n):\n    return 0 if n == 0 else 1 + max(map(depth, [n - 1]))\nprint(4 * depth(10_000))",
    "def depth(n): return depth(n + 1)\ntry: depth(0)\nexcept RecursionError: print(40_000)",
]


async def test_the_harness_of_the_benchmark_is_there(tmp_path: Path) -> None:
    """Imports, standard input in every form, and recursion as deep as the benchmark's own harness allows."""
    case_of = {"public_test_cases": json.dumps([case("1 2 5", "8")]), "private_test_cases": "[]"}
    deep = {"public_test_cases": json.dumps([case("", "40000")]), "private_test_cases": "[]"}
    task = load_task(config("livecodebench", write(tmp_path, [record(0, **case_of), record(2, **deep), record(1)])))
    sums, depth, method = task.load("test")
    starter = str(record(1)["starter_code"])
    async with Sandbox(limits=JailLimits(memory_mb=512)) as sandbox:
        for problem, codes in ((sums, SUMS), (depth, DEEP), (method, [f"{starter}return [k, sum(items)]"])):
            for code in codes:
                assert (await task.score(problem, f"```python\n{code}\n```", sandbox.run_tests)).value == 1.0, code
                assert (await task.score(problem, "```python\nprint(7)\n```", sandbox.run_tests)).value == 0.0
                assert (await task.score(problem, "", sandbox.run_tests)).value == 0.0


async def test_a_solution_runs_apart_from_the_cases(tmp_path: Path) -> None:
    """It may redefine every name of the program around it, and finds no expected output there."""
    task = load_task(config("livecodebench", write(tmp_path, [record(0), record(1)])))
    cheats = [
        "def run_case(text): return wanted",
        "import sys\nprint(sys._getframe(1).f_globals.get('CASES') or sys._getframe(3).f_globals['CASES'][0][1])",
        "import json\njson.dumps = lambda v: '[1, 2]'\nclass Solution:\n    def total(self, k, items): return 0",
        "class Y(list):\n    def __eq__(s, o): return True\nclass Solution:\n    def total(s, k, items): return Y()",
    ]
    async with Sandbox() as sandbox:
        for problem in task.load("test"):
            for code in cheats:
                assert (await task.score(problem, f"```python\n{code}\n```", sandbox.run_tests)).value == 0.0, code
