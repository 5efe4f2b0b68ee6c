# SPDX-License-Identifier: Apache-2.0
"""AFlow's text scorers: token F1 after SQuAD-style normalisation (HotpotQA), and its best over alternatives (DROP)."""

import re
import string
from collections import Counter

from aflow_env.tasks.base import Score

FAILURE_LINE = 0.3
"""AFlow's own line: an answer whose F1 is below it is logged as a failed case."""
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split())


def f1(gold: str, given: str) -> float:
    """Harmonic mean of token precision and recall, in [0, 1]; 0 when no token is shared (also when both are empty)."""
    gold_tokens, given_tokens = normalise(gold).split(), normalise(given).split()
    shared = sum((Counter(gold_tokens) & Counter(given_tokens)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(given_tokens), shared / len(gold_tokens)
    return 2 * precision * recall / (precision + recall)


def score_same_text(gold: str, output: str) -> Score:
    """1 when the texts are equal after normalisation, else 0."""
    correct = normalise(gold) == normalise(output)
    return Score(float(correct), output.strip(), correct)


def score_f1(gold: str, output: str) -> Score:
    """HotpotQA: F1 of the whole output."""
    value = f1(gold, output)
    return Score(value, output.strip(), value >= FAILURE_LINE)


def score_alternatives(gold: str, output: str) -> Score:
    """DROP: the best F1 of any `|`-separated gold with any such part of the output; empty golds are skipped."""
    pairs = [
        (part, alternative) for part in output.split("|") for alternative in gold.split("|") if alternative.strip()
    ]
    value, best = max(((f1(alternative, part), part) for part, alternative in pairs), default=(0.0, ""))
    return Score(value, best.strip(), value >= FAILURE_LINE)
