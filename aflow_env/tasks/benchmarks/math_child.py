# SPDX-License-Identifier: Apache-2.0
"""Compare two answers of mathematics, in the process of sandbox/math_jail.py.

Parsers of formulas can run for ever and evaluate their input (sympy's `parse_expr` calls `eval`). So a model's text
reaches them only in this jailed process, which its parent kills when it is late. Only a plain formula reaches `eval`.

One JSON line {"scorer", "gold", "output"} in, one {"correct", "extracted"} out. The scorer `verify` reads one answer of
each text (formulas.py) and compares the two by the library math-verify. `aflow` is AFlow's rule: equal texts, else
numbers within 1e-3, else equal formulas. Unlike AFlow's LaTeX parser this one needs no particular version of antlr4.
"""

import json
import re
from math import isclose
from typing import Any

from aflow_env.tasks.formulas import Formula, read, read_gold, same_unit

TOLERANCE = 1e-3
_BOXED = re.compile(r"\\boxed{((?:[^{}]|{[^{}]*})*)}", re.DOTALL)
_ARITHMETIC = re.compile(r"(?:[A-Za-z0-9+\-*/^(),=<>\s]|(?<=\d)\.|\.(?=\d))*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_FUNCTIONS = {"sqrt", "pi", "exp", "log", "ln", "sin", "cos", "tan", "oo", "factorial", "binomial", "Rational"}
_APART = re.compile(r"\d\s+\d")  # two numbers side by side, which a parser may read as a formula
_SENTENCE_END = re.compile(r"(?<!\d)[.!?]\s+")


def extract(text: str) -> str:
    """Extract an answer as AFlow does: the last \\boxed{} (one level of braces inside), else the last sentence."""
    found = _BOXED.findall(text) or [part for part in _SENTENCE_END.split(text) if part.strip()] or [""]
    return str(found[-1]).strip()


def digits(text: str) -> float | None:
    """Read a number as AFlow does: commas removed, a percent sign divides by 100."""
    plain = text.replace(",", "")
    try:
        return float(plain[:-1].removesuffix("\\")) / 100 if plain.endswith("%") else float(plain)
    except ValueError:
        return None


def aflow_equal(given: str, gold: str) -> bool:
    """Compare as AFlow's math_equal does."""
    if given == gold:
        return True
    left, right = digits(given), digits(gold)
    if left is not None and right is not None:
        return isclose(left, right, abs_tol=TOLERANCE)
    return _formulas_equal(_formula(given), _formula(gold))


def _formula(text: str) -> Any:
    from latex2sympy2_extended import latex2sympy
    from sympy.parsing.sympy_parser import parse_expr

    for parse in (latex2sympy, parse_expr) if harmless(text) else (latex2sympy,):
        try:
            return parse(text)
        except Exception:  # the parsers raise any exception for a text that is no formula
            continue
    return None


def harmless(text: str) -> bool:
    """Return whether `text` has only operators, numbers, letters and known functions, so `parse_expr` may read it."""
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
    except Exception:  # the formulas cannot be subtracted or simplified, so their numbers decide
        pass
    try:
        return isclose(N(left), N(right), abs_tol=TOLERANCE)
    except Exception:  # they are no numbers
        return False


def verified(gold: str, output: str) -> tuple[bool, str]:
    """Return whether the answer of the output equals that of the gold, and the output's answer.

    If both have units, they must agree. If both have names before `=`, these must agree, or both must be equal
    equations. The plain number p / 100 equals a gold of p percent. Formulas are compared by math-verify.
    """
    wanted, given = read_gold(gold), read(output)
    if not wanted.value or not given.value or not same_unit(wanted.unit, given.unit):
        return False, given.value
    both_named = wanted.left != "" != given.left
    if (both_named and wanted.left != given.left) or wanted.is_equation or given.is_equation:
        same = wanted.whole.is_equation == given.whole.is_equation and same_value(wanted.whole, given.whole)
        return same, given.value
    correct = same_value(wanted, given) or (
        wanted.unit == "%" and not given.unit and same_value(Formula(f"\\frac{{{wanted.value}}}{{100}}"), given)
    )
    return correct, given.value


def same_value(wanted: Formula, given: Formula) -> bool:
    """Return whether two values are one text or, by math-verify, one formula."""
    if wanted.key == given.key:
        return True
    if any(side.is_words or side.is_too_large or _APART.search(side.value) for side in (wanted, given)):
        return False
    from math_verify import verify

    left, right = _parsed(wanted.value), _parsed(given.value)
    if left is None or right is None or _is_closed(left):
        return False
    return bool(verify(left, right, timeout_seconds=None, allow_set_relation_comp=True))


def _parsed(value: str) -> Any:
    """Return a formula parsed by math-verify, None when it cannot. formulas.py has removed the units."""
    from latex2sympy2_extended.latex2sympy2 import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    config = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="last", equations=False
    )
    target = (LatexExtractionConfig(normalization_config=config),)
    found = parse(f"\\boxed{{{value}}}", target, fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if found else None


def _is_closed(formula: Any) -> bool:
    """Return whether no unknown can solve the equation. math-verify says that any two such equations are equal."""
    from sympy.core.function import AppliedUndef
    from sympy.core.relational import Relational

    return isinstance(formula, Relational) and (not formula.free_symbols or bool(formula.atoms(AppliedUndef)))


def answer(line: str) -> str:
    """Answer one question. After an error of the libraries the answer counts as wrong."""
    question = json.loads(line)
    gold, output = question["gold"], question["output"]
    try:
        if question["scorer"] == "aflow":
            extracted = extract(output)
            correct = aflow_equal(extracted, extract(gold))
        else:
            correct, extracted = verified(gold, output)
    except (RecursionError, MemoryError, ArithmeticError, ValueError, TypeError, AttributeError):
        correct, extracted = False, extract(output)
    return json.dumps({"correct": correct, "extracted": extracted}) + "\n"
