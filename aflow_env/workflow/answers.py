# SPDX-License-Identifier: Apache-2.0
"""Read the one answer of a text: its last `\\boxed{}`, its last number, its whole number, or all of it.

Every function takes linear time for any text and raises nothing. Only the standard library is imported, because
standalone.py copies this module.
"""

import re
from decimal import Decimal

LONGEST = 20_000
"""The last characters of an output that are read. A text scorer gives 0 to a longer output."""
LONGEST_NUMBER = 1_000
"""Characters of a number. A longer number is no answer."""

KINDS = ("number", "whole_number", "boxed", "text")
"""The kinds of answers that scorers read."""
_SEPARATOR = r"(?:,(?:\\!)?|\{,\}|\\,)"
_NUMBER = re.compile(
    rf"[-+]?(?:\d+(?:{_SEPARATOR}\d{{3}}(?!\d))*(?:\.\d+)?|(?<![\w.])\.\d+)(?:[eE][-+]?\d{{1,3}}(?!\w))?"
)
_ASCII = str.maketrans("−﹣－＋．，", "---+.,")  # minus signs and the full-width forms
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"\\(?:boxed|fbox)\s+(-?[\w./]+)")


def last_decimal(text: str) -> Decimal | None:
    """Return the last number of the last LONGEST characters, or None.

    "10-5" ends in -5, as in AFlow, "3/4" and "3:4" end in 4. Commas, `{,}` and `\\,` before exactly three digits are
    thousands separators: (10,2024) ends in 2024. U+2212 is a minus sign. Digits of every script count. `.5` is 0.5, and
    `1e3` is 1000.
    """
    number = next(reversed(_NUMBER.findall(text[-LONGEST:].translate(_ASCII))), "")
    return Decimal(re.sub(_SEPARATOR, "", number)) if 0 < len(number) <= LONGEST_NUMBER else None


def short_answer(text: str, kind: str) -> str:
    """Return a text's answer of one of KINDS in one spelling; "" without an answer.

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
    """Return the last number of the last `\\boxed{}`, or of a text without a box, if it is whole, such as "12.0"."""
    box = last_boxed(text[-LONGEST:])
    number = last_decimal(text if box is None else box)
    return int(number) if number is not None and number == number.to_integral_value() else None


def last_boxed(text: str) -> str | None:
    """Return the content of the last `\\boxed{}` or `\\fbox{}` that closes, with any depth of braces; None without one.

    An inner box is part of the outer one, without its `\\boxed`. `\\boxed 5` counts when no box with braces closes.
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
