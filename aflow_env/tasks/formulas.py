# SPDX-License-Identifier: Apache-2.0
"""Read the one formula that is a text's answer, as value, unit and left side. Standard library alone.

`read` takes the last `\\boxed{}` that closes, else the formula after the last "answer is", "answer:" or "####", else
the last formula between dollars, else the last line, or the last number in it if it is prose.
"""

import re
from dataclasses import dataclass, replace
from math import log10

from aflow_env.workflow.answers import last_boxed

LONGEST_FORMULA = 1_000
"""Characters of a formula. A longer formula is compared as text."""

_MATH = re.compile(
    r"\$\$(.{1,1000}?)\$\$|(?<!\\)\$([^$\n]{1,1000})(?<!\\)\$|\\\((.{1,1000}?)\\\)|\\\[(.{1,1000}?)\\\]", re.DOTALL
)
_DELIMITED = re.compile(r"\$\$([^$]*)\$\$|\$([^$]*)\$|\\\(([^$]*)\\\)|\\\[([^$]*)\\\]")
_CUE = re.compile(r"(?:\banswer\b(?:\s+is\b|\s*[:=])|####)[\s:*]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\n|(?<!\\)[.!?](?:\s|$)")
_COMMAND = re.compile(r"\\(?:text|[a-z]*box)\s*\{[^{}]*\}|\\[A-Za-z]+")
_FUNCTIONS = "pi|sqrt|sin|cos|tan|log|ln|exp"
_WORD = re.compile(rf"(?!(?:{_FUNCTIONS})\b)\b[A-Za-z]{{2,}}")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_PLAIN_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?|-?\.\d+")

# One spelling for LaTeX, Unicode and Python, applied in this order.
_SPELLINGS = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\\(?:mbox|textrm|textbf|textit|textnormal|mathrm|operatorname)(?=\s*\{)", r"\\text"),
        (r"\\text\s*\{([ie])\}", r"\1"),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lr]?)(?=\s*[^A-Za-z\s])", ""),
        (r",\\!\s*(?=\d)|\{,\}", ","),
        (r"\\(?:displaystyle(?![A-Za-z])|!)", ""),
        (r"\\[,;: ]|~|\\q?quad(?![A-Za-z])", " "),
        (r"\\leq?(?![A-Za-z])|≤|<=", r"\\le "),
        (r"\\geq?(?![A-Za-z])|≥|>=", r"\\ge "),
        (r"\\neq?(?![A-Za-z])|≠", r"\\ne "),
        (r"\*\*", "^"),
        (r"\\(?:cdot|times)(?![A-Za-z])|[×·*]", r"\\cdot "),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])", "°"),
        (r"[−–]", "-"),
        (r"∞|\binfinity\b", r"\\infty "),
        (r"∪", r"\\cup "),
        (r"π", r"\\pi "),
        (r"√\s*(\w+|\([^()]*\))|(?<![\\A-Za-z])sqrt\(([^()]*)\)", r"\\sqrt{\1\2}"),
        (rf"(?<![\\A-Za-z])({_FUNCTIONS})(?![A-Za-z])", r"\\\1 "),
        (r"\\frac\s*(\w)\s*(\w)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\w)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\w)", r"\1{\2}"),
        (r"\\sqrt\s*(\w)", r"\\sqrt{\1}"),
        (r"\\text\s*\{\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])", ","),
        (r",(?:\s*,)+", ","),
    )
]
_PERCENT = re.compile(r"\s*(?:\\?%|\\text\{\s*percent\s*\}|\bpercent)$")
_TEXT_UNIT = re.compile(r"(?<=[\w)}\].°])\s*\\text\s*\{([^{}]*)\}(?:\s*\^\s*\{?\d\}?)?$")
_WORD_UNIT = re.compile(
    r"(?<=[\d})])\s+((?:(?:square|cubic|sq|cu)\.?\s+)?(?:cm|mm|km|kg|mg|ft|in|mi|hr|lb|oz|ml|mL|[A-Za-z]{3,}))"
    r"(?:\s*\^\s*\{?\d\}?)?$"
)
_DEGREES = re.compile(r"(-?[\d.,]+)\s*°")
_BASE = re.compile(r"([0-9A-Fa-f]+)\s*_\s*(?:\{(\d+)\}|(\d))")
_MONEY = re.compile(r"(-?)\s*(\\\$|[$£€])\s*(-?[\d.].*)", re.DOTALL)
_MONEY_AFTER = re.compile(r"(-?[\d.,]+)\s*(\\\$|[$£€])")
_CURRENCIES = {"\\$": "dollars", "$": "dollars", "£": "pounds", "€": "euros"}
_THOUSANDS = re.compile(r"-?\d{1,3}(?:[, ]\d{3})+(?:\.\d+)?")
_MIXED = re.compile(r"(-?\d+)\s+(\d+)\s*/\s*(\d+)")
_REPEATING = re.compile(r"(-?)(\d*)\.(\d*)\\overline\s*\{(\d+)\}")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"\(([A-Za-z])\)|([A-Za-z])")
_LEFT = re.compile(
    r"(\\?[A-Za-z]+'*(?:_\{?\w+\}?)?|[A-Za-z]\([\w,]+\)|\([a-z](?:,\s*[a-z])+\))\s*(?:=(?!=)|\\in(?![A-Za-z]))\s*"
)
_EQUALS = re.compile(r"(?<![\\<>!])=")
_HUGE = re.compile(
    r"\d{400}|\^[-+]?\d{5}|\d{4}[})]*!|![})]*!|\^[-+]?\d{4,}\^|\^[-+]?\d+\^[-+]?\d{4}|\^[-+]?\d+\^[-+]?\d+\^"
)
_TOWER = re.compile(r"\^[-+]?(\d{1,3})\^[-+]?(\d{1,3})")


@dataclass(frozen=True)
class Formula:
    """`value` is LaTeX; `unit` is a word, `%`, `base N` or empty; `left` is the name before `=` or `\\in`, or empty."""

    value: str
    unit: str = ""
    left: str = ""

    @property
    def key(self) -> str:
        """The value as a text for comparison, without spaces, and words in lower case."""
        return _squeeze(self.value).lower() if self.is_words else _squeeze(self.value)

    @property
    def whole(self) -> "Formula":
        """The formula with its left side in the value."""
        return Formula(f"{self.left}={self.value}") if self.left else self

    @property
    def is_equation(self) -> bool:
        """Whether the value has an equals sign."""
        return _EQUALS.search(self.value) is not None

    @property
    def is_words(self) -> bool:
        """Whether the value is a text, which a parser of formulas would read as a product of letters."""
        is_word = self.value.isalpha() and len(self.value) > 2
        return is_word or "\\text" in self.value or _LONG_WORD.search(_COMMAND.sub(" ", self.value)) is not None

    @property
    def is_too_large(self) -> bool:
        """Whether the value may be too large to compute: long, or with large exponents or factorials."""
        text = re.sub(r"[\s{(]", "", self.value)
        towers = (int(high) * log10(max(int(low), 1)) for low, high in _TOWER.findall(text))
        return len(self.value) > LONGEST_FORMULA or _HUGE.search(text) is not None or any(size > 4 for size in towers)


def read(text: str) -> Formula:
    """Return the answer of an output, with an empty value when there is none."""
    return plain_form(_answer(text))


def read_gold(gold: str) -> Formula:
    """Return the answer of a gold, which is all of it without a box, dollars in a sentence and ####."""
    whole = _DELIMITED.fullmatch(gold.strip())
    marked = last_boxed(gold) is not None or "####" in gold or _MATH.search(gold)
    return read(gold) if marked and not whole else plain_form(gold)


def _answer(text: str) -> str:
    box = last_boxed(text)
    if box is not None:
        return box
    cues = list(_CUE.finditer(text))
    if cues and (rest := _SENTENCE_END.split(text[cues[-1].end() :].strip(), maxsplit=1)[0].strip(" *")):
        return _last_math(rest) or _outside_prose(rest, 0)
    lines = [line.strip(" *") for line in text.split("\n") if line.strip(" *")]
    return _last_math(text) or (_outside_prose(lines[-1], -1) if lines else "")


def _last_math(text: str) -> str:
    found = _MATH.findall(text)
    return next((part.strip() for part in found[-1] if part), "") if found else ""


def _outside_prose(text: str, which: int) -> str:
    """Return the text if it is a formula, one or two words, or a number with a unit, else its number at `which`."""
    words = _WORD.findall(_COMMAND.sub(" ", text))
    if not words or (len(words) <= 2 and (plain_form(text).unit or not re.search(r"\d", text))):
        return text
    numbers = _PLAIN_NUMBER.findall(text)
    return str(numbers[which]) if numbers else ""


def plain_form(answer: str) -> Formula:
    """Return the parts of an answer in one spelling. The value is right of the last `=` after a name or numbers."""
    text = answer.strip()
    if len(text) > LONGEST_FORMULA:
        return Formula(text)
    if inside := _DELIMITED.fullmatch(text):
        text = next(part for part in inside.groups() if part is not None)
    for pattern, new in _SPELLINGS:
        text = pattern.sub(new, text)
    text = text.strip().rstrip(".,;").strip()
    sides = _EQUALS.split(text)
    is_list = len(sides) > 2 and re.search(r"[,;]", text) is not None
    if (left := _LEFT.match(text)) and not is_list:
        value = text[left.end() :] if len(sides) <= 2 else sides[-1]
        return replace(_with_unit(value.strip()), left=_squeeze(left[1]))
    is_sum = not is_list and not re.search("[A-Za-z]", _COMMAND.sub("", sides[0]))
    return _with_unit(sides[-1].strip() if is_sum else text)


def _with_unit(text: str) -> Formula:
    if chosen := _CHOICE.fullmatch((_TEXT.fullmatch(text) or [text, text])[1].strip()):
        return Formula(chosen[1] or chosen[2])
    if found := _MONEY.fullmatch(text):
        return replace(_with_unit(found[1] + found[3]), unit=_CURRENCIES[found[2]])
    if found := _MONEY_AFTER.fullmatch(text):
        return Formula(_number(found[1]), _CURRENCIES[found[2]])
    if found := _PERCENT.search(text):
        return Formula(_number(text[: found.start()]), "%")
    if found := _DEGREES.fullmatch(text):
        return Formula(_number(found[1]), "degrees")
    if found := _BASE.fullmatch(text):
        return Formula(found[1], f"base {found[2] or found[3]}")
    found = _TEXT_UNIT.search(text) or _WORD_UNIT.search(text)
    if found and not Formula(text[: found.start()]).is_words:
        return Formula(_number(text[: found.start()]), re.sub(r"[\s.-]", "", found[1]).lower())
    if text and Formula(text).is_words:  # a text is the same with and without \text{} around its words
        return Formula("\\text{" + _TEXT.sub(r"\1", text).strip() + "}")
    return Formula(_number(text))


def _number(text: str) -> str:
    """Drop separators of thousands, and write mixed fractions and repeating decimals as LaTeX."""
    text = text.strip()
    if repeating := _REPEATING.fullmatch(text):
        sign, whole, once, again = repeating.groups()
        numerator = int(whole + once + again) - int(whole + once or 0)
        return f"{sign}\\frac{{{numerator}}}{{{'9' * len(again)}{'0' * len(once)}}}"
    return re.sub(r"[, ]", "", text) if _THOUSANDS.fullmatch(text) else _MIXED.sub(r"\1\\frac{\2}{\3}", text)


def same_unit(one: str, other: str) -> bool:
    """Return whether two units are equal, one is missing, or one abbreviates the other ("cm" for "centimeters")."""
    short, long = sorted(map(_singular, (one, other)), key=len)
    if not short or short == long:
        return True
    letters = iter(long)
    return len(long) > 3 and long.isalpha() and short[0] == long[0] and all(letter in letters for letter in short)


def _singular(unit: str) -> str:
    return "foot" if unit == "feet" else unit if len(unit) < 4 else unit.removesuffix("s")


def _squeeze(text: str) -> str:
    """Drop white space that is not between digits."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text)
