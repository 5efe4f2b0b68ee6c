# SPDX-License-Identifier: Apache-2.0
"""MBPP: short functions from one sentence. Fields `task_id`, `text` (or `prompt`), `code`, `test_list`.

The first assert is public and in the prompt, for the function's name. All asserts are the hidden tests. Before them
runs `test_setup_code`, or `test_imports` of the sanitized edition, and before that the classes and functions of the
reference solution that it needs, such as the Node of a tree.
"""

import ast
from functools import partial

from aflow_env.tasks.dataset import FileTask, Hub
from aflow_env.tasks.problem import Problem
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import score_code, undefined
from aflow_env.workflow.program import SourceError, TaskSpec, parse_source

OPERATORS = ("Custom", "CustomCodeGenerate", "ScEnsemble", "Select", "Test")
SPEC = TaskSpec("mbpp", "MBPP", OPERATORS, entry_point=True)
HUB = Hub("google-research-datasets/mbpp", ("sanitized",), train="train")


def problem(record: Record) -> Problem:
    """Read a record of the official file. Raises ConfigError."""
    tests = record.texts("test_list")
    setup = "\n".join((*_optional(record, "test_imports"), *_optional(record, "test_setup_code"))).strip()
    code = record.text("code").replace("\r\n", "\n")
    entry_point = _entry_point(record, code, tests)
    text = record.text("text", "prompt").strip()
    hidden = "\n".join((_helpers(code, "\n".join((setup, *tests)), entry_point), setup, *tests)).strip()
    if complaint := undefined(hidden, entry_point):
        raise record.error("test_list", complaint)
    return Problem(
        id=f"mbpp/{record.text('task_id')}",
        prompt=f"{text}\nThe function is named `{entry_point}` and must satisfy:\n{tests[0]}\n",
        answer=code,
        entry_point=entry_point,
        public_tests=("\n".join((setup, _public(tests[0], entry_point))).strip(),),
        hidden_tests=hidden,
    )


def _helpers(code: str, tests: str, entry_point: str) -> str:
    """Return the reference solution's imports, and its definitions that the tests need beside the entry point."""
    if not undefined(tests, entry_point):
        return ""
    body = parse_source(code).body
    kept: list[ast.stmt] = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    defined = {node.name: node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    wanted = [tests]
    while wanted:
        names = {node.id for node in ast.walk(ast.parse(wanted.pop())) if isinstance(node, ast.Name)} - {entry_point}
        for name in sorted(names & defined.keys()):
            wanted.append(ast.unparse(defined[name]))
            kept.append(defined.pop(name))
    return "\n".join(map(ast.unparse, kept))


class _ToCandidate(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name("candidate", node.ctx) if node.id == "check" else node


def _public(test: str, entry_point: str) -> str:
    """Return the test without the name `check`, which the harness of the operator Test uses."""
    return ast.unparse(_ToCandidate().visit(parse_source(test))) if entry_point == "check" else test


def _entry_point(record: Record, code: str, tests: tuple[str, ...]) -> str:
    """Return the function of the reference solution that the first test calls."""
    if not tests:
        raise record.error("test_list", "is empty")
    try:
        nodes = ast.walk(parse_source(code))
        defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        called = [node.func for node in ast.walk(parse_source(tests[0])) if isinstance(node, ast.Call)]
        parse_source("\n".join(tests))
    except SourceError as error:
        raise record.error("code", f"or a test in `test_list` is not Python ({error})") from None
    names = [function.id for function in called if isinstance(function, ast.Name) and function.id in defined]
    if not names:
        raise record.error("test_list", "calls no function that `code` defines in its first test")
    return names[0]


def _optional(record: Record, name: str) -> tuple[str, ...]:
    value = record.fields.get(name) or ()
    return (record.text(name),) if isinstance(value, str) else record.texts(name) if value else ()


task = partial(FileTask, spec=SPEC, convert=problem, judge=score_code, hub=HUB)
"""MBPP; AFlow's sizes are 86 / 341 of the sanitized edition's 427."""
