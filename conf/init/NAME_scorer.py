"""Scores an output of the task NAME."""

import re


def score(answer: str, output: str) -> tuple[float, str]:
    """Return how much the output is worth, from 0 to 1, and why it is not right: whatever helps to mend the workflow.

    Here an output is worth 1 where its last number is the answer. Whoever proposes the next change reads the text.
    """
    numbers = re.findall(r"-?\d+(?:\.\d+)?", output.replace(",", ""))
    if not numbers:
        return 0.0, "there is no number in the output"
    if float(numbers[-1]) == float(answer):
        return 1.0, ""
    return 0.0, f"the last number is {numbers[-1]}, and the answer is {answer}"
