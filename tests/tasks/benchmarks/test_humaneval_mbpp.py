# SPDX-License-Identifier: Apache-2.0
"""HumanEval and MBPP: real problems, scored in the real sandbox; public tests apart from hidden ones."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from aflow_env.errors import ConfigError
from aflow_env.sandbox.pool import Sandbox
from aflow_env.tasks import Problem, Task, load_task
from aflow_env.tasks.benchmarks.humaneval_mbpp import docstring_examples
from aflow_env.tasks.scorers import hoist_future
from tests.tasks.support import accepted, config


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


def task_of(name: str, shared: Path, count: int = 20) -> Task:
    return load_task(config(name, shared / "data" / name, validate=count, test=count))


@pytest.mark.asyncio(loop_scope="module")
async def test_replies_are_read_as_models_write_them(shared: Path, sandbox: Sandbox) -> None:
    task = task_of("humaneval", shared)
    problem = task.load("validate", limit=1)[0]
    body = problem.answer
    whole = f"{problem.prompt.replace('from typing import List', '')}{body}"
    for reply in (body, whole, f"Sure!\n```python\n{whole}\n```\nIt works.", f"<code>\n{whole}\n</code>"):
        assert (await task.score(problem, reply, sandbox.run_tests)).correct
    for reply in ("", "I do not know.", "```python\nimport os\nos._exit(0)\n```", "def has_close_elements(:"):
        assert not (await task.score(problem, reply, sandbox.run_tests)).correct


@pytest.mark.asyncio(loop_scope="module")
async def test_the_operator_test_sees_the_imports_of_the_prompt(shared: Path, sandbox: Sandbox) -> None:
    """A function without the prompt's imports passes the hidden tests, and so the public ones."""
    task = task_of("humaneval", shared)
    problem = task.load("validate", limit=1)[0]
    assert "from typing import List" in problem.prelude
    bare = f"{problem.prompt.replace('from typing import List', '')}{problem.answer}"
    assert (await task.score(problem, bare, sandbox.run_tests)).correct
    assert await accepted(sandbox, problem, bare)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_function_named_check_is_scored(shared: Path, sandbox: Sandbox) -> None:
    task = task_of("mbpp", shared, 200)
    problem = next(p for p in task.load("validate") if p.id == "mbpp/56")
    assert problem.entry_point == "check"
    assert (await task.score(problem, problem.answer, sandbox.run_tests)).correct
    assert not (await task.score(problem, "def check(n): return True", sandbox.run_tests)).correct


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
async def test_all_reference_solutions_score_1_and_others_0(name: str, shared: Path, sandbox: Sandbox) -> None:
    """No right answer of the published data is lost; nothing, and a function that is wrong, are no answers."""
    task = task_of(name, shared, 1000)
    problems = [problem for split in ("validate", "test") for problem in task.load(split)]
    assert len(problems) == {"humaneval": 100, "mbpp": 400}[name]

    async def scores(problem: Problem, *outputs: str) -> list[float]:
        return [(await task.score(problem, output, sandbox.run_tests)).value for output in outputs]

    for problem in problems:
        assert await scores(problem, problem.answer, "") == [1.0, 0.0], problem.id
    for problem in problems[:20]:
        wrong = f"Here you are:\n```python\ndef {problem.entry_point}(*arguments):\n    return 'no'\n```"
        assert await scores(problem, wrong, "\n") == [0.0, 0.0], problem.id


SHADOWS = {
    "HumanEval/4": "def abs(x): return 0\ndef mean_absolute_deviation(numbers): return 0.0",
    "HumanEval/32": "def poly(xs, x): return 0\ndef find_zero(xs): return 0",
    "HumanEval/38": "def encode_cyclic(s): return s\ndef decode_cyclic(s): return s",
    "HumanEval/50": "def encode_shift(s): return s\ndef decode_shift(s): return s",
}


@pytest.mark.asyncio(loop_scope="module")
async def test_helpers_of_the_prompt_are_the_judges(shared: Path, sandbox: Sandbox) -> None:
    """A solution that redefines what the tests call beside it changes nothing."""
    task = task_of("humaneval", shared, 1000)
    problems = [p for split in ("validate", "test") for p in task.load(split) if p.id in SHADOWS]
    assert problems
    for problem in problems:
        cheat = f"```python\n{SHADOWS[problem.id]}\n```"
        assert (await task.score(problem, cheat, sandbox.run_tests)).value == 0.0, problem.id


@pytest.mark.asyncio(loop_scope="module")
async def test_classes_that_the_tests_need_come_from_the_reference(shared: Path, sandbox: Sandbox) -> None:
    """mbpp/367 builds a tree of Nodes, which no prompt mentions: a solution need not define one."""
    task = task_of("mbpp", shared, 1000)
    problem = next(p for split in ("validate", "test") for p in task.load(split) if p.id == "mbpp/367")
    own = """
def is_tree_balanced(root):
    def height(node):
        return 0 if node is None else 1 + max(height(node.left), height(node.right))
    if root is None:
        return True
    near = abs(height(root.left) - height(root.right)) <= 1
    return near and is_tree_balanced(root.left) and is_tree_balanced(root.right)
"""
    assert (await task.score(problem, own, sandbox.run_tests)).correct
    assert not (await task.score(problem, "def is_tree_balanced(root): return True", sandbox.run_tests)).correct


@pytest.mark.parametrize(
    "code",
    [
        "from __future__ import annotations\nX: Y = 1",
        '"""Doc."""\nfrom __future__ import (\n    annotations,\n    division,\n)\nX: Y = 1',
        "from __future__ import annotations; X: Y = 1",
        "X = 1",
        "def f(:",
    ],
)
def test_future_imports_stand_first(code: str) -> None:
    """The prompt's imports come before a reply, but for the one kind of import that must be first."""
    whole = hoist_future("import math\n", code)
    if "def" in code:
        assert code in whole
        return
    scope: dict[str, object] = {}
    exec(compile(whole, "whole", "exec", dont_inherit=True), scope)
    assert scope["X"] == 1
    assert "math" in scope


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_hidden_tests_are_not_in_what_a_workflow_sees(name: str, shared: Path) -> None:
    for problem in task_of(name, shared, 100).load("validate"):
        visible = problem.prompt + "\n".join(problem.public_tests)
        hidden = [line.strip() for line in problem.hidden_tests.splitlines() if line.strip().startswith("assert ")]
        assert len(problem.public_tests) <= len(hidden) or name == "humaneval"
        if name == "mbpp":
            assert all(test not in visible for test in hidden[1:] if test != hidden[0])
        else:
            assert "candidate" not in visible


def test_most_humaneval_problems_have_public_tests(shared: Path) -> None:
    problems = [p for split in ("validate", "test") for p in task_of("humaneval", shared, 200).load(split)]
    assert len(problems) == 100
    assert sum(bool(p.public_tests) for p in problems) >= 85


@pytest.mark.parametrize(
    ("docstring", "tests"),
    [
        (">>> f([1, 2], x=3)\n    6\n    >>> f([])\n    True", ("assert f([1, 2], x=3) == 6", "assert f([]) == True")),
        (">>> round(f(2), 2) # half\n    1.0", ("assert round(f(2), 2) == 1.0",)),
        ("f(3) ➞ 'a'\n    f(4) => [1, 2]  and so on", ("assert f(3) == 'a'", "assert f(4) == [1, 2]")),
        ("f(5) == true # yes\n    f(6) returns 7.", ("assert f(5) == True", "assert f(6) == 7")),
        (">>> f(open('x'))\n    1\n    >>> g(1)\n    2\n    f(x) = y", ()),
        (">>> f(1).__class__\n    1", ()),
        ("", ()),
    ],
)
def test_examples_of_a_docstring(docstring: str, tests: tuple[str, ...]) -> None:
    prompt = f'def g(x):\n    return x\n\n\ndef f(x):\n    """Do it.\n    {docstring}\n    """\n'
    assert docstring_examples(prompt, "f") == tests


@pytest.mark.parametrize(
    ("name", "record", "complaint"),
    [
        (
            "humaneval",
            {"task_id": "H/0", "prompt": "def g(): ...", "entry_point": "f"},
            "field `prompt` does not define",
        ),
        ("humaneval", {"task_id": "H/0", "entry_point": "f"}, "field `prompt` is missing"),
        (
            "humaneval",
            {"prompt": "def f(): ...", "entry_point": "f", "test": "1"},
            "field `test` does not define check",
        ),
        ("mbpp", {"text": "t", "code": "def f(): ...", "test_list": []}, "field `test_list` is empty"),
        (
            "mbpp",
            {"text": "t", "code": "def f(): ...", "test_list": "assert f()"},
            "field `test_list` should be a list",
        ),
        ("mbpp", {"text": "t", "code": "def f(): ...", "test_list": ["assert g()"]}, "calls no function that `code`"),
        (
            "humaneval",
            {"prompt": "def f(): ...", "entry_point": "f", "test": "def check(c): assert g()", "task_id": "H/0"},
            "field `test` uses g: neither Python nor the tests define that",
        ),
        (
            "mbpp",
            {"text": "t", "code": "def f(): ...", "test_list": ["assert f()", "assert g()"]},
            "field `test_list` uses g",
        ),
        ("mbpp", {"text": "t", "code": "def f(:", "test_list": ["assert f()"]}, "is not Python"),
        ("mbpp", {"text": "t", "code": "def f(): ...", "test_list": ["assert f()", "assert ("]}, "is not Python"),
    ],
)
def test_bad_records_are_named(tmp_path: Path, name: str, record: dict[str, object], complaint: str) -> None:
    (tmp_path / "validate.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"validate\.jsonl line 1.*{complaint}"):
        load_task(config(name, tmp_path)).load("validate")
