# SPDX-License-Identifier: Apache-2.0
"""Runs in a process of its own, sandbox/math_jail.py: compares two answers of mathematics. Imports no aflow_env.

Parsers of formulas can run for ever and evaluate what they read (sympy's `parse_expr` calls `eval`). So a model's words
get near them only here, in a jail and with a parent that kills what is late; and near `eval` only when they are a plain
formula.

One JSON line {"scorer", "gold", "output"} in, one {"correct", "extracted"} out. Scorers: `verify` is the library
math-verify (plus equality of the boxed texts); `aflow` is AFlow's rule: equal texts, else numbers within 1e-3, else
equal formulas. AFlow parses LaTeX by sympy, which gives up silently unless one version of antlr4 is there; here LaTeX
is parsed in any case.
"""

import json
import re
from math import isclose
from typing import Any

TOLERANCE = 1e-3
_BOXED = re.compile(r"\\boxed{((?:[^{}]|{[^{}]*})*)}", re.DOTALL)
_ARITHMETIC = re.compile(r"(?:[A-Za-z0-9+\-*/^(),=<>\s]|(?<=\d)\.|\.(?=\d))*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_FUNCTIONS = {"sqrt", "pi", "exp", "log", "ln", "sin", "cos", "tan", "oo", "factorial", "binomial", "Rational"}
_SENTENCE_END = re.compile(r"(?<!\d)[.!?]\s+")


def extract(text: str) -> str:
    """AFlow's extraction: the last \\boxed{} (one level of braces inside), else the last sentence."""
    boxed = _BOXED.findall(text)
    if boxed:
        return str(boxed[-1]).strip()
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    return sentences[-1] if sentences else ""


def last_boxed(text: str) -> str | None:
    """What stands in the last \\boxed{}, any depth of braces; None when there is none that closes."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for position in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[begin:position].strip()
    return None


def digits(text: str) -> float | None:
    """AFlow's number: commas removed, a percent sign divides by 100."""
    plain = text.replace(",", "")
    try:
        return float(plain)
    except ValueError:
        pass
    if not plain.endswith("%"):
        return None
    try:
        return float(plain[:-1].removesuffix("\\")) / 100
    except ValueError:
        return None


def aflow_equal(given: str, gold: str) -> bool:
    """AFlow's math_equal."""
    if given == gold:
        return True
    left, right = digits(given), digits(gold)
    if left is not None and right is not None:
        return isclose(left, right, abs_tol=TOLERANCE)
    return _formulas_equal(_formula(given), _formula(gold))


def _formula(text: str) -> Any:
    from latex2sympy2_extended import latex2sympy
    from sympy.parsing.sympy_parser import parse_expr

    for parse, fits in ((latex2sympy, True), (parse_expr, harmless(text))):
        try:
            if fits:
                return parse(text)
        except Exception:  # whatever the parsers raise, it means: not a formula of this kind
            continue
    return None


def harmless(text: str) -> bool:
    """Whether `parse_expr`, which evaluates, may read `text`: operators, numbers, letters and known functions only."""
    return _ARITHMETIC.fullmatch(text) is not None and all(
        len(name) == 1 or name in _FUNCTIONS for name in _NAME.findall(text)
    )


def _formulas_equal(left: Any, right: Any) -> bool:
    from sympy import N, simplify

    if left is None or right is None:
        return False
    try:
        if simplify(left - right) == 0:
            return True
    except Exception:  # not subtractable, or beyond sympy: the numeric comparison decides
        pass
    try:
        return isclose(N(left), N(right), abs_tol=TOLERANCE)
    except Exception:  # no numbers either: not equal
        return False


def verified(gold: str, output: str) -> tuple[bool, str]:
    """math-verify's judgement of the whole texts, and what it took for the answer."""
    from math_verify import parse, verify

    wanted_text, given_text = last_boxed(gold), last_boxed(output)
    shown = extract(output) if given_text is None else given_text
    if wanted_text is not None and wanted_text == given_text:
        return True, shown
    wanted = parse(gold if wanted_text is None else f"$\\boxed{{{wanted_text}}}$", parsing_timeout=None)
    given = parse(output, parsing_timeout=None)
    return bool(wanted and given and verify(wanted, given, timeout_seconds=None)), shown


def judge(scorer: str, gold: str, output: str) -> tuple[bool, str]:
    """Whether `output` answers as `gold` does, and the answer found in it."""
    if scorer == "aflow":
        wanted, given = extract(gold), extract(output)
        return aflow_equal(given, wanted), given
    return verified(gold, output)


def answer(line: str) -> str:
    """One question, one reply; what the libraries cannot digest is a wrong answer."""
    question = json.loads(line)
    try:
        correct, extracted = judge(question["scorer"], question["gold"], question["output"])
    except (RecursionError, MemoryError, ArithmeticError, ValueError, TypeError, AttributeError):
        correct, extracted = False, extract(question["output"])
    return json.dumps({"correct": correct, "extracted": extracted}) + "\n"
