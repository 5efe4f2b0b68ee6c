# SPDX-License-Identifier: Apache-2.0
"""The statistics of a report: intervals over draws that are independent, curves, calibration."""

from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="needs aflow-env[report]")

from aflow_env.report import numbers
from aflow_env.report.html.courses import spending_curves, training_curves
from aflow_env.report.html.page import fronts
from tests.report.runs import round_, run, trained

scores = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(scores)
def test_a_mean_lies_in_its_interval_and_one_draw_has_none(values: list[float]) -> None:
    found = numbers.mean(values, numbers.SCORES)
    assert found.n == len(values)
    assert found.value == pytest.approx(fmean(values))
    if len(values) == 1:
        assert found.low is None
    else:
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value + 1e-9
        assert found.value - 1e-9 <= found.high <= 1


def test_the_interval_is_students() -> None:
    found = numbers.mean([0.1, 0.2, 0.3])
    assert (found.low, found.high) == pytest.approx((0.2 - 0.2484, 0.2 + 0.2484), abs=1e-3)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=20))
def test_best_so_far_never_falls(found: list[float | None]) -> None:
    curve = [score for _, score in numbers.best_by_calls(run(0, 0, scores=(0.0, *found)))]
    assert curve == sorted(curve)
    assert len(curve) == len(found) + 1


def test_curves_over_calls_are_of_searches_and_those_over_steps_of_trainings() -> None:
    begun = replace(run(1, 0), rounds=(*run(1, 0).rounds, round_(1, None, 0.9, step=1, session="train/0/0/1")))
    groups = {"searches": [run(0, 0)], "trainings": [begun, trained(run(0, 1))]}
    calls, steps = spending_curves(groups), training_curves(groups)
    assert calls is not None
    assert steps is not None
    assert {row[0] for row in calls.rows} == {"searches"}
    assert {row[0] for row in steps.rows} == {"trainings"}


def test_calibration_compares_predictions_with_the_scores_that_came() -> None:
    rounds = (round_(1, None, 0.2), round_(2, 1, 0.4, q=0.95), round_(3, 1, 0.9, q=0.92), round_(4, 1, None, q=0.05))
    found = numbers.calibration([replace(run(0, 0), rounds=rounds)])
    assert [(round(each.predicted, 3), each.came.value, each.expansions) for each in found] == [(0.935, 0.65, 2)]


def test_calibration_counts_runs_for_its_interval_and_not_their_expansions() -> None:
    """Many expansions of one run are one draw: three alike weigh as much as one of another run."""

    def of(score: float, count: int) -> object:
        return tuple(round_(place + 2, place + 1, score, q=0.55) for place in range(count))

    one, other = replace(run(0, 0), rounds=of(0.8, 3)), replace(run(0, 1), rounds=of(0.4, 1))
    assert numbers.calibration([one])[0].came.low is None
    (found,) = numbers.calibration([one, other])
    assert (found.came.value, found.came.n, found.expansions) == (pytest.approx(0.6), 2, 4)


def test_the_front_of_a_group_holds_what_no_other_workflow_beats_and_no_unknown_price() -> None:
    """Workflows are pooled over the runs of a group; a bill with an unknown price has no mean."""
    cheap, dear = round_(1, None, 0.3, usd_a_problem=0.01), round_(2, 1, 0.9, usd_a_problem=0.1)
    beaten, unknown = round_(3, 1, 0.5, usd_a_problem=0.2), round_(4, 1, 1.0, usd_a_problem=None)
    found = replace(run(0, 0), rounds=(cheap, dear, beaten, unknown))
    front = numbers.front([found])
    assert front is not None
    assert [(each.digest, each.usd_a_problem) for each in front] == [("d1", 0.01), ("d2", 0.1)]
    figure = fronts({"group": [found]})
    assert figure is not None
    assert [row[1] for row in figure.rows] == ["d1", "d2"]
    assert "n=3 workflows" in figure.caption
    assert numbers.front([replace(found, rounds=(unknown,))]) is None
    assert numbers.bill([found]) == numbers.Mean(0.5, 1)
    spread = numbers.bill([found, replace(found, cost_usd=0.01)])
    assert spread is not None
    assert spread.low == 0.0, "no run costs less than nothing"
    assert numbers.bill([found, replace(found, cost_usd=None)]) is None
