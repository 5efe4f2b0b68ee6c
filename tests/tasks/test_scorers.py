# SPDX-License-Identifier: Apache-2.0
"""What holds for every scorer of short answers: any text, in little time, and nothing for nothing."""

import asyncio
import gc
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.tasks.formulas import read, read_gold
from aflow_env.tasks.problem import Score
from aflow_env.tasks.scorers import SHORT, score_alternatives_of_both

SECONDS = 0.05
SCORERS: dict[str, Callable[[str, str], Score]] = {
    **{name: scorer.score for name, scorer in SHORT.items()},
    "drop, aflow": score_alternatives_of_both,
}
GOLDS = {
    "number": "72",
    "whole_number": "72",
    "same_text": "New York",
    "f1": "the 3rd of May",
    "alternatives": "3|4|x y",
}
PIECES = [
    "9",
    "9,",
    ".",
    ".9",
    "-",
    "|",
    "a ",
    "the ",
    "{",
    "}",
    "\\boxed{",
    "\\boxed{9}",
    "$",
    "\n",
    " ",
    "\u0663",
    "\u0130",
]
SIZES = (20_000, 250_000)
ANY = st.text() | st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def timed(score: Callable[[], Score]) -> tuple[Score, float]:
    """The score, and the least processor time of three tries: neither other processes nor the collector count."""
    times = []
    gc.disable()  # a collection would take longer than a scorer may, and as long as all of these tests
    try:
        for _ in range(3):
            begin = time.process_time()
            found = score()
            times.append(time.process_time() - begin)
    finally:
        gc.enable()
    return found, min(times)


@pytest.mark.parametrize("name", SCORERS)
@given(gold=ANY, output=ANY)
def test_any_text_has_a_score(name: str, gold: str, output: str) -> None:
    """No text raises, neither as a gold nor as an output, and a score is a share."""
    score = SCORERS[name](gold, output)
    assert 0.0 <= score.value <= 1.0
    if name in SHORT and not SHORT[name].refuses(gold):
        assert SCORERS[name](gold, "").value == 0.0


@pytest.mark.parametrize("name", SCORERS)
@given(gold=ANY)
def test_a_gold_that_is_accepted_can_be_reached(name: str, gold: str) -> None:
    """What the check of golds lets through is right for itself."""
    if name in SHORT and not SHORT[name].refuses(gold):
        outputs = [part for part in gold.split("|") if part.strip()] if name == "alternatives" else [gold]
        assert all(SCORERS[name](gold, output).value == 1.0 for output in outputs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [*PIECES, "1 2 3 ", "9" * 99 + "e", "\\boxed{{}", "{,}999", "\\,999", "a|b|", "x1|"])
@pytest.mark.parametrize("name", SCORERS)
def test_no_output_takes_long(name: str, piece: str, size: int) -> None:
    """Whatever an output repeats, however long it is, its score takes less than 50 ms."""
    output = piece * (size // len(piece))
    _, seconds = timed(lambda: SCORERS[name](GOLDS.get(name, "3|4|x y"), output))
    assert seconds < SECONDS


@given(text=ANY)
def test_any_text_has_a_formula(text: str) -> None:
    """Reading the answer of mathematics is total; an answer in a box is the same answer alone."""
    assert isinstance(read(text).value, str)
    assert isinstance(read_gold(text).value, str)


@pytest.mark.parametrize("piece", [*PIECES, "\\(", "answer is ", "\\text{", "=", "1 ", "\\frac", "^{9", ", ", "$$"])
def test_reading_a_formula_takes_linear_time(piece: str) -> None:
    """The longest text that the judge reads is read in little time."""
    texts = [piece * (size // len(piece)) for size in (1_000, 20_000)]
    begin = time.process_time()
    for text in texts:
        read(text)
        read(f"\\boxed{{{text}}}")
    assert time.process_time() - begin < 2.0


def test_the_event_loop_is_free_while_texts_are_scored() -> None:
    """Fifty thousand bars, which once held the loop for seconds."""

    async def run() -> float:
        begin = time.process_time()
        SCORERS["alternatives"]("3|4", "|" * 50_000)
        return time.process_time() - begin

    assert asyncio.run(run()) < SECONDS
