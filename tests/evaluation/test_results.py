# SPDX-License-Identifier: Apache-2.0
"""What results say together: failures of the world are in no mean, and every mean has its interval."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.errors import InfrastructureError
from aflow_env.evaluation.results import COUNTED, Outcome, ProblemResult, interval95, summarise

examples = settings(max_examples=60)
some_results = st.lists(
    st.builds(
        ProblemResult,
        problem_id=st.text("ab", max_size=3),
        repeat=st.integers(0, 3),
        outcome=st.sampled_from(Outcome),
        score=st.floats(0, 1),
        cost_usd=st.floats(0, 10),
        cached=st.booleans(),
    ),
    max_size=30,
)


@examples
@given(some_results)
def test_the_score_is_the_mean_of_what_counts_and_nothing_else(results: list[ProblemResult]) -> None:
    counted = [result.score for result in results if result.outcome in COUNTED]
    if not counted:
        with pytest.raises(InfrastructureError, match="counts"):
            summarise("w", "e", results)
        return
    evaluation = summarise("w", "e", results)
    assert evaluation.score == pytest.approx(sum(counted) / len(counted))
    assert evaluation.n == len(counted)
    assert sum(evaluation.outcomes.values()) == len(results)
    low, high = evaluation.ci95
    assert 0 <= low <= evaluation.score + 1e-12
    assert evaluation.score - 1e-12 <= high <= 1
    assert evaluation.cost_usd == pytest.approx(sum(result.cost_usd for result in results))
    assert evaluation.spent_usd == pytest.approx(sum(result.cost_usd for result in results if not result.cached))


def test_a_failure_of_the_world_does_not_move_the_score() -> None:
    right = ProblemResult("a", 0, Outcome.CORRECT, 1.0)
    for outcome, score in ((Outcome.LLM_ERROR, 1.0), (Outcome.BUDGET, 1.0), (Outcome.TIMEOUT, 0.5)):
        assert summarise("w", "e", [right, ProblemResult("b", 0, outcome)]).score == score


@pytest.mark.parametrize(
    ("scores", "interval"),
    [
        ([1.0] * 8 + [0.0] * 2, (0.4902, 0.9433)),  # Wilson for 8 of 10
        ([0.0] * 10, (0.0, 0.2775)),
        ([1.0], (0.2065, 1.0)),
        ([0.5], (0.0, 1.0)),
        ([0.5, 0.5], (0.5, 0.5)),
        ([0.25, 0.75], (0.01, 0.99)),  # 0.5 -+ 1.96 * 0.25
    ],
)
def test_intervals_by_the_book(scores: list[float], interval: tuple[float, float]) -> None:
    assert interval95(scores) == pytest.approx(interval, abs=1e-4)


def test_more_problems_narrow_the_interval() -> None:
    few, many = interval95([1.0, 0.0] * 5), interval95([1.0, 0.0] * 50)
    assert few[0] < many[0] < 0.5 < many[1] < few[1]


def test_no_score_without_results() -> None:
    with pytest.raises(ValueError, match="no scores"):
        interval95([])
    with pytest.raises(InfrastructureError, match=r"2 x connection: refused"):
        summarise("w", "e", [ProblemResult("a", i, Outcome.LLM_ERROR, error="connection: refused") for i in range(2)])
