# SPDX-License-Identifier: Apache-2.0
"""AFlow's number scorer (GSM8K): the last number of the text, equal to the gold one within 1e-6."""

import re

from aflow_env.tasks.base import Score

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
