"""Scores an output of the task NAME."""

import re


def score(answer: str, output: str) -> float:
    """Return how much the output is worth, from 0 to 1: here 1 where its last number is the answer."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?", output.replace(",", ""))
    if not numbers:
        return 0.0
    return float(float(numbers[-1]) == float(answer))
