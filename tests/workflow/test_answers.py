# SPDX-License-Identifier: Apache-2.0
"""The last number, the whole number and the last box of a text, however it is written."""

from decimal import Decimal

import pytest

from aflow_env.tasks.scorers import last_number, score_number, score_whole_number
from aflow_env.workflow.answers import LONGEST, last_boxed, last_decimal, whole_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 7.", "7"),
        ("first 7, then 8", "8"),
        ("9 or 10", "10"),
        ("10-5", "-5"),
        ("\u22125", "-5"),
        ("\uff0d\uff11\uff12", "-12"),
        ("\u0663", "3"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("v1.2.5", "5"),
        ("2{,}125", "2125"),
        (r"10,\!080", "10080"),
        (r"12\,500", "12500"),
        ("1,000,000.50 dollars", "1000000.50"),
        ("(10,2024)", "2024"),
        ("on May 10,2024.", "2024"),
        ("1,234567", "234567"),
        ("1e3", "1000"),
        ("2.5E-2", "0.025"),
        ("1e5x", "5"),
        ("3/4", "4"),
        ("99%", "99"),
        ("x\u00b2", None),
        ("NaN", None),
        ("infinity", None),
        ("9" * 5_000, None),
        ("", None),
    ],
)
def test_the_last_number(text: str, number: str | None) -> None:
    """One answer: the last number, in any script and with any thousands separator; a list of guesses is its last."""
    assert last_decimal(text) == (None if number is None else Decimal(number))


def test_a_number_beyond_floats_is_no_float() -> None:
    assert last_number("1e999") is None
    assert last_number("1e3") == 1000.0


@pytest.mark.parametrize(
    ("gold", "output", "value"),
    [
        ("1,234", "1234.0", 1.0),
        ("0.3333333", "0.3333334", 1.0),
        ("0.333", "0.334", 0.0),
        ("123456789012345678901", "123456789012345678902", 0.0),
        ("123456789012345678901", "123456789012345678901", 1.0),
        ("7", "7" * 5_000, 0.0),
        ("five", "five", 0.0),
        ("3", "3, 4, 5", 0.0),
        ("5", "3, 4, 5", 1.0),
        ("1e999", "1e999", 1.0),
    ],
)
def test_numbers_are_equal_within_the_tolerance(gold: str, output: str, value: float) -> None:
    """No digits are lost to floats, and nothing that is no number is right."""
    assert score_number(gold, output).value == value


@pytest.mark.parametrize(
    ("gold", "output", "value"),
    [
        ("1,000", r"\boxed{1000}", 1.0),
        ("12.0", "12", 1.0),
        ("73", "073", 1.0),
        ("B", "12", 0.0),
        ("12", "12.5", 0.0),
        ("9", r"\boxed{9} or \boxed{10}", 0.0),
        ("9", r"\boxed{10}, so 9", 0.0),
        ("9", "9" * 250_000 + ".9", 0.0),
    ],
)
def test_whole_numbers_are_equal_or_not(gold: str, output: str, value: float) -> None:
    """The last box decides alone."""
    assert score_whole_number(gold, output).value == value


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"\boxed{\frac{\sqrt{a_{1}}}{2}}", r"\frac{\sqrt{a_{1}}}{2}"),
        (r"\boxed{1} and \fbox{2}", "2"),
        (r"\boxed{1} and \boxed{2", "1"),
        (r"\boxed{\boxed{5}}", "{5}"),
        (r"{ \boxed{5}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\boxed 5", "5"),
        (r"\boxed{1", None),
        (r"\boxed{}", ""),
        ("5", None),
    ],
)
def test_the_last_box_that_closes(text: str, box: str | None) -> None:
    assert last_boxed(text) == box


def test_the_last_characters_are_read() -> None:
    """A longer text is cut in front, and no number is cut in two."""
    assert whole_number("7 " + "x" * LONGEST) is None
    assert whole_number("x" * LONGEST + " 1234567") == 1234567
    assert last_decimal("1" * (2 * LONGEST)) is None
