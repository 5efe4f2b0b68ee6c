# SPDX-License-Identifier: Apache-2.0
"""A report claims what the runs show and no more: intervals, pairs, words."""

from dataclasses import replace
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.errors import ConfigError
from aflow_env.report import numbers
from aflow_env.report.summary import as_csv, as_object, summarise, verdict
from tests.report.runs import round_, run

scores = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(scores)
def test_a_mean_lies_in_its_interval_and_one_run_has_none(values: list[float]) -> None:
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
    curve = numbers.best_so_far(run(0, 0, scores=(0.0, *found)))
    assert curve == sorted(curve)
    assert len(curve) == len(found) + 1


def test_effects_are_of_pairs_with_the_same_seed() -> None:
    """Seeds differ a lot and the gain is always 0.1: pairing sees it, and seed 9 without a partner is left out."""
    base = [run(0, seed, test=seed / 10) for seed in range(6)]
    guided = [run(0.5, seed, test=seed / 10 + 0.1) for seed in range(6)] + [run(0.5, 9, test=0.0)]
    summary = summarise(base + guided, ["rl_weight"])
    (effect,) = summary.effects
    assert effect.n == 6
    assert effect.difference == pytest.approx(0.1)
    assert effect.clear
    assert "interval excludes 0, so use it" in verdict(summary)


def test_the_words_claim_no_more_than_the_intervals() -> None:
    def said(differences: list[float]) -> str:
        base = [run(0, seed, test=0.4) for seed in range(len(differences))]
        other = [run(0.5, seed, test=0.4 + each) for seed, each in enumerate(differences)]
        return verdict(summarise(base + other, ["rl_weight"]))

    assert "interval excludes 0, so use it" in said([0.1, 0.12, 0.09, 0.11])
    assert said([0.1, 0.12, 0.09, 0.11]).startswith("Use rl_weight=0.5."), "the first words say what to do"
    assert "do not show that it is better" in said([0.3, -0.2, 0.1, -0.1])
    assert said([0.3, -0.2, 0.1, -0.1]).startswith("Keep rl_weight=0.")
    assert "single pair" in said([0.2])
    assert "clearly better than rl_weight=0.5" in said([-0.1, -0.12, -0.09])
    assert verdict(summarise([run(0, 1, scores=(None,))], ["rl_weight"])) == "No run has a score yet."


def test_groups_are_ordered_by_value_and_a_wrong_key_names_those_that_exist() -> None:
    runs = [run(1, 0), run(0.25, 0), run(0, 0)]
    assert [group.label for group in summarise(runs, ["rl_weight"]).groups] == [
        "rl_weight=0",
        "rl_weight=0.25",
        "rl_weight=1",
    ]
    with pytest.raises(ConfigError, match="rl_weight, seed"):
        summarise(runs, ["nonsense"])
    with pytest.raises(ConfigError, match="--baseline x"):
        summarise(runs, ["rl_weight"], "x")


def test_one_run_without_a_test_score_makes_all_compare_by_validate() -> None:
    assert summarise([run(0, 0, test=0.5), run(1, 0)], ["rl_weight"]).measure == "best"
    assert summarise([run(0, 0, test=0.5), run(1, 0, test=0.5)], ["rl_weight"]).measure == "test"


def test_calibration_compares_belief_with_the_best_child() -> None:
    rounds = (round_(1, None, 0.2), round_(2, 1, 0.4, q=0.95), round_(3, 1, 0.9, q=0.92), round_(4, 1, None, q=0.05))
    found = numbers.calibration([replace(run(0, 0), rounds=rounds)])
    assert [(round(each.belief, 3), each.came.value, each.came.n) for each in found] == [
        (0.05, 0.9, 1),
        (0.935, 0.9, 2),
    ]


def test_a_belief_that_is_the_same_for_every_workflow_has_no_spread() -> None:
    rounds = (round_(1, None, 0.2), round_(2, 1, 0.4, q=0.5), round_(3, 2, 0.8, q=0.5), round_(4, 2, 0.6, q=0.5))
    assert numbers.belief_spread([replace(run(0, 0), rounds=rounds)]) == (0.0, pytest.approx(pstdev([0.4, 0.8, 0.8])))
    assert numbers.belief_spread([run(0, 0)]) is None


def test_csv_has_a_row_a_run_and_json_the_intervals() -> None:
    summary = summarise([run(0, 0, test=0.5), run(0, 1, test=0.7)], ["rl_weight"])
    lines = as_csv(summary).splitlines()
    assert len(lines) == 3
    assert len({line.count(",") for line in lines}) == 1
    assert as_object(summary)["groups"][0]["test"]["n"] == 2
    assert as_object(summary)["simulated_runs"] == 2
