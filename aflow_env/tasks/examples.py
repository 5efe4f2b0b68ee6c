# SPDX-License-Identifier: Apache-2.0
"""The examples in a docstring as assert statements: what a solver of the problem may see, and so may run."""

import ast
import doctest
import re
import warnings
from collections.abc import Iterator

_ARROW = r"(?:==>|=>|==|=|➞|->|→|returns?|should return|would return|will return|#=>)"


def docstring_examples(prompt: str, entry_point: str) -> tuple[str, ...]:
    """`assert f(1) == 2` for each example of `f = entry_point`: doctests, else lines such as `f(1) ➞ 2`.

    Examples whose result is no Python expression over literals are left out; there may be none.
    """
    docstring = _docstring(prompt, entry_point)
    found = [*_doctests(docstring, entry_point)] or [*_lines(docstring, entry_point)]
    return tuple(dict.fromkeys(f"assert {call} == {result}" for call, result in found))


def _docstring(prompt: str, entry_point: str) -> str:
    start = prompt.rfind(f"def {entry_point}")
    quoted = re.search(r'("""|\'\'\')(.*?)\1', prompt[max(start, 0) :], re.DOTALL)
    return quoted.group(2) if quoted else ""


def _doctests(docstring: str, entry_point: str) -> Iterator[tuple[str, str]]:
    try:
        examples = doctest.DocTestParser().get_examples(docstring)
    except ValueError:  # sloppy indentation
        return
    for example in examples:
        call, result = example.source.strip(), example.want.strip()
        if _calls(call, entry_point) and _is_literal(result):
            yield call, result


def _lines(docstring: str, entry_point: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(rf"\b{re.escape(entry_point)}\(", docstring):
        end = docstring.find("\n", match.start())
        line = docstring[match.start() : end if end >= 0 else len(docstring)]
        for separator in re.finditer(rf"\)\s*{_ARROW}\s*", line):
            call, rest = line[: separator.start() + 1], line[separator.end() :].strip()
            result = next(
                (
                    part
                    for part in (rest, rest.rstrip(".;,"), rest.split("  ")[0], rest.split("#")[0].strip())
                    if _is_literal(part)
                ),
                None,
            )
            if result is not None and _calls(call, entry_point):
                yield call, result
                break


def _calls(text: str, entry_point: str) -> bool:
    tree = _expression(text)
    return (
        isinstance(tree, ast.Call)
        and isinstance(tree.func, ast.Name)
        and tree.func.id == entry_point
        and all(_literal(argument) for argument in (*tree.args, *(keyword.value for keyword in tree.keywords)))
    )


def _is_literal(text: str) -> bool:
    tree = _expression(text)
    return tree is not None and _literal(tree)


def _literal(tree: ast.expr) -> bool:
    try:
        ast.literal_eval(tree)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return False
    return True


def _expression(text: str) -> ast.expr | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
