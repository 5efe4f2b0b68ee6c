# SPDX-License-Identifier: Apache-2.0
"""Scorers of short answers: text, token F1 (HotpotQA), F1 over accepted answers (DROP), the last number (GSM8K).

A scorer reads one answer from an output, in linear time. Only a gold may have alternatives. `SHORT` pairs each scorer
with a check of its golds. docs/tasks.md has a table of all scorers. `score_code` runs hidden tests.
"""

import ast
import builtins
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isfinite

from aflow_env.errors import ConfigError
from aflow_env.tasks.feedback import differs, miss, public_feedback
from aflow_env.tasks.problem import Problem, RunTests, Score
from aflow_env.workflow.answers import LONGEST, last_decimal, whole_number
from aflow_env.workflow.parsing import extract_code

FAILURE_LINE = 0.3
"""AFlow logs an answer with a lower F1 as a failed case."""
TOLERANCE = 1e-6
PARTS = 200
"""Parts of an output that AFlow's rule for DROP compares."""
_ALL_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Signs in and before numbers stay, and + and # after a letter: without them -5 is 5, 3.5 is 35, 1/2 is 12, C++ is C.
_PUNCTUATION = re.compile(
    r"(?!(?<![^\s([$])-[$]?\.?\d|(?<=\d)[-./:+*^]\d|(?<=[a-z+#])[+#]|(?<![\w.])\.\d)["
    + re.escape(string.punctuation)
    + "]"
)
_SINGLE_NUMBER = re.compile(r"-?\d*\.?\d+")
_VERDICTS = {"yes", "no", "noanswer"}


def normalise(text: str) -> str:
    """Return lower case with single spaces, without articles and without ASCII punctuation outside of numbers."""
    plain = _PUNCTUATION.sub("", text.lower().replace("−", "-"))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def readings(text: str) -> tuple[list[str], ...]:
    """Return the words of a text: normalised, with articles (for choice A), and with all signs (for `+`).

    A text beyond LONGEST has no words.
    """
    if len(text) > LONGEST:
        return [], [], []
    lower = text.lower()
    return normalise(text).split(), lower.translate(_ALL_PUNCTUATION).split(), lower.split()


def _beside(gold: str, found: tuple[list[str], ...]) -> tuple[list[str], list[str]]:
    """Return the words of the gold and of an output, by the first reading that leaves words of the gold."""
    pairs = zip(readings(gold), found, strict=True)
    return next((pair for pair in pairs if pair[0]), ([], []))


def f1(gold: str, output: tuple[list[str], ...]) -> float:
    """Return the harmonic mean of token precision and recall, in [0, 1], of an output's readings.

    As in HotpotQA's own metric yes and no count only as the whole answer. If the gold is one number, an output with
    several numbers gets 0, so that guesses do not pay.
    """
    wanted, found = _beside(gold, output)
    shared = sum((Counter(wanted) & Counter(found)).values())
    if shared == 0 or (wanted != found and (_is_verdict(wanted) or _is_verdict(found) or _guesses(wanted, found))):
        return 0.0
    precision, recall = shared / len(found), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def _is_verdict(words: list[str]) -> bool:
    return len(words) == 1 and words[0] in _VERDICTS


def _guesses(wanted: list[str], found: list[str]) -> bool:
    numbers = [word for word in found if _SINGLE_NUMBER.fullmatch(word)]
    return len(wanted) == 1 and _SINGLE_NUMBER.fullmatch(wanted[0]) is not None and len(numbers) > 1


def score_same_text(gold: str, output: str) -> Score:
    """Score the whole output as the answer: 1 when it has the gold's words, else 0."""
    wanted, found = _beside(gold, readings(output))
    correct = wanted == found != []
    return Score(float(correct), output.strip(), correct, feedback=miss(correct, output, differs(gold, output)))


def score_f1(gold: str, output: str) -> Score:
    """Score the whole output as the answer by its F1 with the gold (HotpotQA)."""
    return _by_f1(f1(gold, readings(output)), gold, output)


def score_alternatives(gold: str, output: str) -> Score:
    """Score the whole output as one answer by its best F1 with a `|`-separated gold that is not empty (DROP)."""
    words = readings(output)
    value = max((f1(accepted, words) for accepted in gold.split("|") if accepted.strip()), default=0.0)
    return _by_f1(value, gold, output)


def _by_f1(value: float, gold: str, output: str) -> Score:
    correct = value >= FAILURE_LINE
    why = f"F1 is {value:.2f}: {differs(gold, output)}"
    return Score(value, output.strip(), correct, feedback=miss(correct, output, why))


def score_alternatives_of_both(gold: str, output: str) -> Score:
    """Score by AFlow's rule for DROP: the best F1 of any gold with any `|`-separated part of the output.

    Do not train on it, because an output that lists every phrase of the passage scores near 1.
    """
    parts = output[:LONGEST].split("|")[:PARTS]
    return max((score_alternatives(gold, part) for part in parts), key=lambda score: score.value)


def last_number(text: str) -> float | None:
    """Return `last_decimal` as a float, None beyond a float's range."""
    number = last_decimal(text)
    return None if number is None or not isfinite(float(number)) else float(number)


def score_number(gold: str, output: str) -> Score:
    """Score the last number of the output: 1 when it is within 1e-6 of the gold's last number, else 0."""
    wanted, given = last_decimal(gold), last_decimal(output)
    correct = wanted is not None and given is not None and abs(wanted - given) <= TOLERANCE
    found = "" if given is None else f"{given:.15g}"
    why = differs(f"{wanted or 0:.15g}", found) if found else "no number found"
    return Score(float(correct), found, correct, feedback=miss(correct, output, why))


def score_whole_number(gold: str, output: str) -> Score:
    """Score the last number of the last `\\boxed{}`, or of an output without one: 1 when it is the gold (AIME).

    073 equals 73, as in AIME. A number with a fraction is no answer.
    """
    wanted, given = whole_number(gold), whole_number(output)
    correct = given is not None and given == wanted
    found = "" if given is None else str(given)
    why = differs(str(wanted), found) if found else "no whole number found"
    return Score(float(correct), found, correct, feedback=miss(correct, output, why))


@dataclass(frozen=True)
class ShortScorer:
    """`score(gold, output)`, and `refuses(gold)`: the reason why no output can be right for this gold, or ""."""

    score: Callable[[str, str], Score]
    usable: Callable[[str], bool]
    wanted: str

    def refuses(self, gold: str) -> str:
        """Return, for `Record.checked`, the complaint about a gold, or ""."""
        return "" if self.usable(gold) else f"{self.wanted} ({gold[:40]!r})"


def _is_text(gold: str) -> bool:
    return bool(gold.strip()) and len(gold) <= LONGEST


_TEXT = f"should hold an answer of at most {LONGEST} characters"
SHORT: dict[str, ShortScorer] = {
    "number": ShortScorer(score_number, lambda gold: last_number(gold) is not None, "has no number in it"),
    "whole_number": ShortScorer(
        score_whole_number, lambda gold: whole_number(gold) is not None, "should be a whole number"
    ),
    "same_text": ShortScorer(score_same_text, _is_text, _TEXT),
    "f1": ShortScorer(score_f1, _is_text, _TEXT),
    "alternatives": ShortScorer(score_alternatives, lambda gold: _is_text(gold.replace("|", "")), "holds no answer"),
}

SECONDS = 15.0
"""AFlow's time limit for the tests of one problem."""


def undefined(tests: str, entry_point: str) -> str:
    """Return why `tests`, which see only the entry point, judge no solution (no Python, undefined names), or ""."""
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
    """Yield the names that the nodes bind in any scope."""
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
    """Return `before` and `code` as one module, with the `from __future__` imports of `code` first."""
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


async def score_code(problem: Problem, output: str, run_code: RunTests) -> Score:
    """Score the code of a reply by the hidden tests."""
    return await score_by_tests(problem, extract_code(output, str(problem.entry_point)), run_code)


async def score_by_tests(problem: Problem, solution: str, run_code: RunTests) -> Score:
    """Score 1 when the hidden tests pass in time, else 0. Raises InfrastructureError and ConfigError."""
    try:
        run = await run_code(solution, problem.hidden_tests, str(problem.entry_point), SECONDS)
    except ConfigError as error:
        raise ConfigError(f"problem {problem.id}: {error}.") from None
    passed = run.outcome == "ok"
    note = run.error if run.error.startswith("Refused") else ""
    feedback = "" if passed else await public_feedback(problem, solution, run_code)
    return Score(float(passed), solution, passed, note, feedback)
