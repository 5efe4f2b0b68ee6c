# SPDX-License-Identifier: Apache-2.0
"""HumanEval: complete a function. Fields `task_id`, `prompt`, `entry_point`, `test`, `canonical_solution`.

Public tests are the examples in the docstring, hidden tests the `check` of `test`. A reply that does not define the
function is read as its body. The prompt's imports and helper functions stand before the reply. They stand before the
tests too, because some tests call them and must not use a solution's own.
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
from aflow_env.tasks.scorers import defines, hoist_future, score_by_tests, undefined
from aflow_env.workflow.parsing import extract_code
from aflow_env.workflow.program import TaskSpec

OPERATORS = ("Custom", "CustomCodeGenerate", "ScEnsemble", "Select", "Test")
SPEC = TaskSpec("humaneval", "HumanEval", OPERATORS, entry_point=True)
HUB = Hub("openai/openai_humaneval")


def problem(record: Record) -> Problem:
    """Read a record of the official file. Raises ConfigError."""
    prompt, entry_point = record.text("prompt"), record.text("entry_point")
    if not defines(prompt, entry_point):
        raise record.error("prompt", f"does not define the entry point {entry_point}")
    tests = f"{helpers(prompt, entry_point)}\n{record.text('test')}"
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
        prelude=helpers(prompt, entry_point),
    )


async def score(problem: Problem, output: str, run_code: RunTests) -> Score:
    """Score the reply, completed by the prompt, by the hidden tests."""
    return await score_by_tests(problem, whole_program(problem, output), run_code)


task = partial(FileTask, spec=SPEC, convert=problem, judge=score, hub=HUB)
"""HumanEval's 164 problems, split 33 / 131."""


def whole_program(problem: Problem, output: str) -> str:
    """Return the reply as a module that defines the entry point and the prompt's helpers."""
    entry_point = str(problem.entry_point)
    code = extract_code(output, entry_point)
    if defines(code, entry_point):
        return hoist_future(problem.prelude, code)
    return problem.prompt + (output if code == output.strip() else code)  # an unfenced body needs its indentation


def helpers(prompt: str, entry_point: str) -> str:
    """Return the prompt's text before its entry point: imports and helper functions."""
    return re.split(rf"^(?:async +)?def +{entry_point}\b", prompt, maxsplit=1, flags=re.MULTILINE)[0]


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
