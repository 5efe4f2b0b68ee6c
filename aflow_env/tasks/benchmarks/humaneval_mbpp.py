# SPDX-License-Identifier: Apache-2.0
"""HumanEval and MBPP: write a function, scored by hidden tests.

HumanEval: complete a function. Fields `task_id`, `prompt`, `entry_point`, `test`, `canonical_solution`. Public tests
are the examples in the docstring, hidden tests the `check` of `test`. A reply that does not define the function is read
as its body. The prompt's imports and helper functions stand before the reply. They stand before the tests too, because
some tests call them and must not use a solution's own.

MBPP: short functions from one sentence. Fields `task_id`, `text` (or `prompt`), `code`, `test_list`. The first assert
is public and in the prompt, for the function's name. All asserts are the hidden tests. Before them runs
`test_setup_code`, or `test_imports` of the sanitized edition, and before that the classes and functions of the
reference solution that it needs, such as the Node of a tree.
"""

import ast
import doctest
import re
import warnings
from collections.abc import Iterator
from functools import partial

from aflow_env.tasks.dataset import FileTask, Hub
from aflow_env.tasks.problem import Problem, RunTests, Score
from aflow_env.tasks.records import Record
from aflow_env.tasks.scorers import hoist_future, score_by_tests, score_code, undefined
from aflow_env.workflow.parsing import defines, extract_code
from aflow_env.workflow.program import SourceError, TaskSpec, parse_source

OPERATORS = ("Custom", "CustomCodeGenerate", "ScEnsemble", "Select", "Test")
MBPP = TaskSpec("mbpp", "MBPP", OPERATORS, entry_point=True)


def humaneval_problem(record: Record) -> Problem:
    """Read a record of the official file. Raises ConfigError."""
    prompt, entry_point = record.text("prompt"), record.text("entry_point")
    if not defines(prompt, entry_point):
        raise record.error("prompt", f"does not define the entry point {entry_point}")
    # Imports and helper functions stand before the entry point.
    prelude = re.split(rf"^(?:async +)?def +{entry_point}\b", prompt, maxsplit=1, flags=re.MULTILINE)[0]
    tests = f"{prelude}\n{record.text('test')}"
    if not defines(tests, "check"):
        raise record.error("test", "does not define check(candidate)")
    if complaint := undefined(tests, entry_point):
        raise record.error("test", complaint)
    return Problem(
        id=record.text("task_id"),
        prompt=prompt,
        answer=record.text("canonical_solution"),
        entry_point=entry_point,
        public_tests=docstring_examples(prompt, entry_point),
        hidden_tests=tests,
        prelude=prelude,
    )


async def humaneval_score(problem: Problem, output: str, run_code: RunTests) -> Score:
    """Score the reply, completed by the prompt, by the hidden tests."""
    return await score_by_tests(problem, whole_program(problem, output), run_code)


def whole_program(problem: Problem, output: str) -> str:
    """Return the reply as a module that defines the entry point and the prompt's helpers."""
    entry_point = str(problem.entry_point)
    code = extract_code(output, entry_point)
    if defines(code, entry_point):
        return hoist_future(problem.prelude, code)
    return problem.prompt + (output if code == output.strip() else code)  # an unfenced body needs its indentation


_ARROW = r"(?:#\s*)?(?:==>|=>|==|=|➞|->|→|returns?|should return|would return|will return)"
_PLAIN = ("round", "sorted", "list", "set", "tuple", "len", "str", "abs")


def docstring_examples(prompt: str, entry_point: str) -> tuple[str, ...]:
    """Return `assert f(1) == 2` for each example of the entry point: doctests, else lines such as `f(1) ➞ 2`.

    Examples whose result is no Python literal are left out.
    """
    start = max(prompt.rfind(f"def {entry_point}"), 0)
    quoted = re.search(r'("""|\'\'\')(.*?)\1', prompt[start:], re.DOTALL)
    docstring = quoted[2] if quoted else ""
    found = [*_doctests(docstring, entry_point)] or [*_lines(docstring, entry_point)]
    return tuple(dict.fromkeys(f"assert {ast.unparse(call)} == {ast.unparse(result)}" for call, result in found))


def _doctests(docstring: str, entry_point: str) -> Iterator[tuple[ast.expr, ast.expr]]:
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:  # sloppy indentation
        return
    for example in examples:
        call, result = _call(example.source, entry_point), _literal(example.want)
        if call is not None and result is not None:
            yield call, result


def _lines(docstring: str, entry_point: str) -> Iterator[tuple[ast.expr, ast.expr]]:
    for match in re.finditer(rf"\b{re.escape(entry_point)}\(", docstring):
        line = docstring[match.start() :].partition("\n")[0]
        for separator in re.finditer(rf"\)\s*{_ARROW}\s*", line):
            call = _call(line[: separator.start() + 1], entry_point)
            rest = line[separator.end() :].strip()
            guesses = (rest.rstrip(".;,"), rest.split("  ")[0], rest.split("#")[0])
            result = next((found for found in map(_literal, guesses) if found is not None), None)
            if call is not None and result is not None:
                yield call, result
                break


def _call(text: str, entry_point: str) -> ast.expr | None:
    """Return an expression of the entry point and a few plain functions over literals; None for any other text."""
    tree = _expression(text)
    if tree is None or any(isinstance(node, ast.Attribute) for node in ast.walk(tree)):
        return None
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = {function.id if isinstance(function, ast.Name) else "" for function in called}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return tree if entry_point in calls and calls | names <= {entry_point, *_PLAIN} else None


def _literal(text: str) -> ast.expr | None:
    tree = _expression({"true": "True", "false": "False", "null": "None"}.get(text.strip(), text))
    try:
        if tree is not None:
            ast.literal_eval(tree)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None
    return tree


def _expression(text: str) -> ast.expr | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def mbpp_problem(record: Record) -> Problem:
    """Read a record of the official file. Raises ConfigError."""
    tests = record.texts("test_list")
    setup = "\n".join((*_optional(record, "test_imports"), *_optional(record, "test_setup_code"))).strip()
    code = record.text("code").replace("\r\n", "\n")
    entry_point = _entry_point(record, code, tests)
    text = record.text("text", "prompt").strip()
    hidden = "\n".join((_needed_definitions(code, "\n".join((setup, *tests)), entry_point), setup, *tests)).strip()
    if complaint := undefined(hidden, entry_point):
        raise record.error("test_list", complaint)
    return Problem(
        id=f"mbpp/{record.text('task_id')}",
        prompt=f"{text}\nThe function is named `{entry_point}` and must satisfy:\n{tests[0]}\n",
        answer=code,
        entry_point=entry_point,
        public_tests=("\n".join((setup, _as_candidate(tests[0], entry_point))).strip(),),
        hidden_tests=hidden,
    )


def _needed_definitions(code: str, tests: str, entry_point: str) -> str:
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


def _as_candidate(test: str, entry_point: str) -> str:
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


humaneval = partial(
    FileTask,
    spec=TaskSpec("humaneval", "HumanEval", OPERATORS, entry_point=True),
    convert=humaneval_problem,
    judge=humaneval_score,
    hub=Hub("openai/openai_humaneval"),
)
"""HumanEval's 164 problems, split 33 / 131."""
mbpp = partial(
    FileTask,
    spec=MBPP,
    convert=mbpp_problem,
    judge=score_code,
    hub=Hub("google-research-datasets/mbpp", ("sanitized",), train="train"),
)
"""MBPP; AFlow's sizes are 86 / 341 of the sanitized edition's 427."""
