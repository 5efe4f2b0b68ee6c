# SPDX-License-Identifier: Apache-2.0
"""The examples in a docstring as assert statements: what a solver of the problem may see, and so may run."""

import ast
import doctest
import re
import warnings
from collections.abc import Iterator

_ARROW = r"(?:#\s*)?(?:==>|=>|==|=|➞|->|→|returns?|should return|would return|will return)"
_PLAIN = ("round", "sorted", "list", "set", "tuple", "len", "str", "abs")


def docstring_examples(prompt: str, entry_point: str) -> tuple[str, ...]:
    """`assert f(1) == 2` for each example of `f = entry_point`: doctests, else lines such as `f(1) ➞ 2`.

    Examples whose result is no Python literal are left out; there may be none.
    """
    docstring = _docstring(prompt, entry_point)
    found = [*_doctests(docstring, entry_point)] or [*_lines(docstring, entry_point)]
    return tuple(dict.fromkeys(f"assert {ast.unparse(call)} == {ast.unparse(result)}" for call, result in found))


def _docstring(prompt: str, entry_point: str) -> str:
    start = prompt.rfind(f"def {entry_point}")
    quoted = re.search(r'("""|\'\'\')(.*?)\1', prompt[max(start, 0) :], re.DOTALL)
    return quoted.group(2) if quoted else ""


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
    """An expression of calls of the entry point and a few plain functions, over literals."""
    tree = _expression(text)
    if tree is None or any(isinstance(node, ast.Attribute) for node in ast.walk(tree)):
        return None
    calls = {
        node.func.id if isinstance(node.func, ast.Name) else "" for node in ast.walk(tree) if isinstance(node, ast.Call)
    }
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
