# SPDX-License-Identifier: Apache-2.0
"""The one answer of a text: its last `\\boxed{}`, its last number, its whole number, all of it. Standard library alone.

Every function reads any text in linear time and never raises.
"""

import re
from decimal import Decimal

LONGEST = 20_000
"""The last characters of an output that are read. A text scorer gives 0 to a longer output."""
LONGEST_NUMBER = 1_000
"""Characters of a number; a longer one is no answer."""

KINDS = ("number", "whole_number", "boxed", "text")
"""How a task's scorer reads an answer."""
_SEPARATOR = r"(?:,(?:\\!)?|\{,\}|\\,)"
_NUMBER = re.compile(rf"[-+]?(?:\d+(?:{_SEPARATOR}\d{{3}})*(?:\.\d+)?|(?<![\w.])\.\d+)(?:[eE][-+]?\d{{1,3}}(?!\w))?")
_ASCII = str.maketrans("−﹣－＋．，", "---+.,")  # minus signs and the full-width forms
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"\\(?:boxed|fbox)\s+(-?[\w./]+)")


def last_decimal(text: str) -> Decimal | None:
    """Return the last number of the last LONGEST characters, or None.

    A sign belongs to the digits that it touches ("10-5" ends in -5), as in AFlow. Commas, `{,}` and `\\,` before three
    digits are thousands separators. U+2212 is a minus sign. Digits of every script count. `.5` is 0.5, and `1e3` is
    1000. A slash or a colon separates two numbers ("3/4" ends in 4).
    """
    number = next(reversed(_NUMBER.findall(text[-LONGEST:].translate(_ASCII))), "")
    return Decimal(re.sub(_SEPARATOR, "", number)) if 0 < len(number) <= LONGEST_NUMBER else None


def short_answer(text: str, kind: str) -> str:
    """Return a text's answer of one of KINDS, the same for equal answers; "" for a text that has none.

    Without a box the last number is the answer of kind "boxed".
    """
    if kind == "text":
        return " ".join(text.lower().split())
    box = last_boxed(text[-LONGEST:]) if kind == "boxed" else None
    if box is not None:
        return "".join(box.split())
    number = whole_number(text) if kind == "whole_number" else last_decimal(text)
    return "" if number is None else f"{(Decimal(number) + 0).normalize():f}"


def whole_number(text: str) -> int | None:
    """Return the last number of the last `\\boxed{}`, or of a text without a box, if it is whole ("12.0" is)."""
    box = last_boxed(text[-LONGEST:])
    number = last_decimal(text if box is None else box)
    return int(number) if number is not None and number == number.to_integral_value() else None


def last_boxed(text: str) -> str | None:
    """Return the content of the last `\\boxed{}` or `\\fbox{}` that closes, any depth of braces; None without one.

    A box inside a box is part of the outer one, which is read without the inner `\\boxed`. `\\boxed 5` counts when no
    box with braces closes.
    """
    opened: list[int | None] = []  # where the content of each open brace's box begins; None for a plain brace
    last: tuple[int, int] | None = None
    for token in _BRACES.finditer(text):
        if token[0] == "}":
            begin = opened.pop() if opened else None
            last = last if begin is None else (begin, token.start())
        elif token[0].endswith("{") and token[0] != r"\{":
            opened.append(None if token[0] == "{" else token.end())
    if last:
        return re.sub(r"\\(?:boxed|fbox)\s*(?=\{)", "", text[slice(*last)]).strip()
    unbraced = _UNBRACED.findall(text)
    return str(unbraced[-1]) if unbraced else None
