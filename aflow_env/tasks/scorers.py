# SPDX-License-Identifier: Apache-2.0
"""AFlow's text scorers: token F1 after SQuAD-style normalisation (HotpotQA), and its best over alternatives (DROP).

AFlow's number scorer (GSM8K): the last number of the text, equal to the gold one within 1e-6.

What code tasks share: a score from hidden tests that run in the scoring child.
"""

import ast
import builtins
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator

from aflow_env.errors import ConfigError
from aflow_env.tasks.base import Problem, RunTests, Score

FAILURE_LINE = 0.3
"""AFlow's own line: an answer whose F1 is below it is logged as a failed case."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split())


def f1(gold: str, given: str) -> float:
    """Harmonic mean of token precision and recall, in [0, 1]; 0 when no token is shared (also when both are empty)."""
    gold_tokens, given_tokens = normalise(gold).split(), normalise(given).split()
    shared = sum((Counter(gold_tokens) & Counter(given_tokens)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(given_tokens), shared / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


def score_same_text(gold: str, output: str) -> Score:
    """1 when the texts are equal after normalisation, else 0."""
    correct = normalise(gold) == normalise(output)
    return Score(float(correct), output.strip(), correct)


def score_f1(gold: str, output: str) -> Score:
    """HotpotQA: F1 of the whole output."""
    value = f1(gold, output)
    return Score(value, output.strip(), value >= FAILURE_LINE)


def score_alternatives(gold: str, output: str) -> Score:
    """DROP: the best F1 of any `|`-separated gold with any such part of the output; empty golds are skipped."""
    pairs = [
        (part, alternative) for part in output.split("|") for alternative in gold.split("|") if alternative.strip()
    ]
    value, best = max(((f1(alternative, part), part) for part, alternative in pairs), default=(0.0, ""))
    return Score(value, best.strip(), value >= FAILURE_LINE)


TOLERANCE = 1e-6
_NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?")


def last_number(text: str) -> float | None:
    """The last number in `text`, thousands commas removed; None when there is none.

    As in AFlow a sign belongs to the digits it touches ("10-5" ends in -5), and an exponent is a number of its own
    ("1e5" ends in 5).
    """
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def score_number(gold: str, output: str) -> Score:
    """1 when the last numbers of `gold` and `output` agree within 1e-6, else 0; no number on either side is 0."""
    wanted, given = last_number(gold), last_number(output)
    correct = wanted is not None and given is not None and abs(wanted - given) <= TOLERANCE
    return Score(float(correct), "" if given is None else f"{given:.15g}", correct)


SECONDS = 15.0
"""AFlow's time limit for the tests of one problem."""


def defines(code: str, name: str) -> bool:
    """Whether `code` defines a top-level function or class `name`, or assigns it."""
    definition = rf"^(?:(?:async\s+)?def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*="
    return re.search(definition, code, re.MULTILINE) is not None


def undefined(tests: str, entry_point: str) -> str:
    """Why `tests` cannot judge a solution: they are not Python, or use a name that nobody defines; "" when they can.

    Of the solution's names they see the entry point alone.
    """
    try:
        tree = ast.parse(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"is not Python ({type(error).__name__}: {error})"
    nodes = list(ast.walk(tree))
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    unknown = sorted(names - {*dir(builtins), *_bound(nodes), entry_point, "__file__"})
    if not unknown or any(isinstance(node, ast.ImportFrom) and node.names[0].name == "*" for node in nodes):
        return ""
    return f"uses {', '.join(unknown)}: neither Python nor the tests define that, and they see only {entry_point}"


def _bound(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Every name that some node binds, in whatever scope."""
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.MatchAs(name=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
            case ast.alias(name=name, asname=other):
                yield (other or name).partition(".")[0]


def hoist_future(before: str, code: str) -> str:
    """`before` and `code` as one module: the `from __future__` imports of `code` stand first."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        body = []
    future = [node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    lines = code.split("\n")
    for node in future:
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        lines[last] = f"{lines[first][: node.col_offset]}pass{lines[last][node.end_col_offset :]}"
        lines[first:last] = [""] * (last - first)
    return "\n".join((*map(ast.unparse, future), before, *lines))


async def score_by_tests(problem: Problem, solution: str, entry_point: str, run_code: RunTests) -> Score:
    """1 when the hidden tests pass in time, else 0. Raises InfrastructureError and ConfigError from `run_code`."""
    try:
        run = await run_code(solution, problem.hidden_tests, entry_point, SECONDS)
    except ConfigError as error:
        raise ConfigError(f"problem {problem.id}: {error}.") from None
    passed = run.outcome == "ok"
    return Score(float(passed), solution, passed, note=run.error if run.error.startswith("Refused") else "")
