# SPDX-License-Identifier: Apache-2.0
"""Q_theta: the expectation over digits, the digit that trains it, judgement."""

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.search.prediction.q import (
    DIGITS,
    calibration,
    calibration_error,
    digit_expectation,
    expected_value,
    ranked,
    realised_digit,
    spearman,
    within_parents,
    worth_of_q,
)
from aflow_env.search.prediction.surrogate import SurrogatePredictor
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.store import Store
from tests.search.quick import Quick, config, play

logits10 = st.lists(st.floats(-8, 8), min_size=10, max_size=10).map(np.array)
unit = st.integers(0, 100).map(lambda percent: percent / 100)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


@given(logits10, st.floats(-50, 50), st.sampled_from([0.3, 1.0, 4.0]))
def test_expectation_is_the_mean_digit_and_ignores_normalisation(
    logits: np.ndarray, shift: float, temperature: float
) -> None:
    q = expected_value(logits, temperature)
    assert q == pytest.approx(float(softmax(logits / temperature) @ DIGITS))
    assert 0.0 <= q <= 1.0
    assert expected_value(logits + shift, temperature) == pytest.approx(float(q))


def test_certainty_uniformity_and_batches() -> None:
    certain = np.full((10, 10), -np.inf)
    np.fill_diagonal(certain, 0.0)
    assert expected_value(certain) == pytest.approx(DIGITS)
    assert expected_value(np.zeros(10)) == pytest.approx(0.5)
    assert expected_value(np.zeros((2, 3, 10))).shape == (2, 3)


def test_no_digit_is_an_error_not_a_prediction_of_zero() -> None:
    with pytest.raises(ValueError, match="at least one possible digit"):
        expected_value(np.full(10, -np.inf))
    with pytest.raises(ValueError, match="at least one possible digit"):
        expected_value(np.full(10, np.nan))
    with pytest.raises(ValueError, match="ten digits"):
        expected_value(np.zeros(9))


def test_one_state_is_the_batch_of_one_and_silence_is_ignorance() -> None:
    log_probs = [math.log(0.3) if digit in (2, 7) else -math.inf for digit in range(10)]
    assert digit_expectation(log_probs) == pytest.approx((0.5, 0.6))
    assert digit_expectation(log_probs, 3.0)[0] == pytest.approx(float(expected_value(log_probs, 3.0)))
    assert digit_expectation([-math.inf] * 10) == (0.5, 0.0)


@given(unit)
def test_the_realised_digit_is_a_neighbour_and_right_on_average(realised: float) -> None:
    drawn = [realised_digit(realised, (k + 0.5) / 2000) for k in range(2000)]
    assert set(drawn) <= set(range(10))
    assert max(drawn) - min(drawn) <= 1
    assert float(np.mean(drawn)) / 9 == pytest.approx(realised, abs=1e-3)


def test_a_sure_and_wrong_prediction_learns_the_mean() -> None:
    """Exact gradient ascent from p(0) = 0.999 towards y = 0.8 ends near 0.8."""
    logits = np.eye(10)[0] * math.log(0.999 / 0.001 * 9)
    came = np.bincount([realised_digit(0.8, (k + 0.5) / 100) for k in range(100)], minlength=10) / 100
    for _ in range(100):
        logits = logits + 0.5 * (came - softmax(logits))
    assert float(expected_value(logits)) == pytest.approx(0.8, abs=0.02)


def test_rank_correlation_with_ties_matches_values_worked_out_by_hand() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1.0)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    # ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: covariance 4.5, variances 4.5 and 5
    assert spearman([0.1, 0.2, 0.2, 0.3], [1, 3, 2, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(spearman([0.5, 0.5], [0.1, 0.9]))


def test_ranks_are_compared_among_the_edits_of_one_workflow() -> None:
    """Levels of parents are no skill, a parent with one edit compares nothing, and no pair at all is undefined."""
    parents = ["a", "a", "b", "b", "c"]
    assert within_parents([0.1, 0.2, 0.8, 0.7, 0.5], [0.3, 0.1, 0.8, 0.9, 0.0], parents) < -0.8
    assert within_parents([0.1, 0.2, 0.8, 0.9, 0.5], [0.1, 0.3, 0.8, 0.9, 0.0], parents) > 0.8
    assert math.isnan(within_parents([0.1, 0.9], [0.1, 0.9], ["a", "b"]))
    assert math.isnan(within_parents([0.4, 0.4, 0.9, 0.9], [0.1, 0.2, 0.3, 0.4], ["a", "a", "b", "b"]))


def test_calibration_error_weighs_bins_by_count() -> None:
    q, y = [0.15, 0.15, 0.95], [0.25, 0.25, 0.65]
    assert calibration_error(q, y) == pytest.approx((2 * 0.1 + 1 * 0.3) / 3)
    assert calibration_error([1.0, 0.0], [1.0, 0.0]) == 0.0


def test_a_prediction_worse_than_a_constant_is_shown_as_such() -> None:
    y = [0.2, 0.4, 0.6, 0.8]
    assert calibration(y, y).skill == pytest.approx(1.0)
    assert calibration([0.5] * 4, y).skill == pytest.approx(0.0)
    backwards = calibration(y[::-1], y)
    assert backwards.skill == pytest.approx(1 - 0.2 / 0.05)
    assert backwards.rank_correlation == pytest.approx(-1.0)
    assert backwards.brier == pytest.approx(0.2)
    assert backwards.brier_constant == pytest.approx(0.05)
    assert backwards.n == 4


def test_undefined_figures_are_nan_and_bad_input_is_refused() -> None:
    flat = calibration([0.3, 0.4], [0.5, 0.5])
    assert math.isnan(flat.skill)
    assert math.isnan(flat.rank_correlation)
    with pytest.raises(ValueError, match="equally long"):
        calibration([], [])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration([1.2], [0.5])
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration([float("nan")], [0.5])


CHOOSING = ("lookahead.nodes=2", "lookahead.edits=6", "redraws=3", "q.kind=surrogate", "rl_weight=1", "rounds=8")


def test_edits_are_ranked_among_those_of_one_node() -> None:
    """A parent with one edit compares nothing, and a difference between parents counts for nothing."""
    first = [("a", q, score) for q, score in ((0.1, 0.2), (0.5, 0.5), (0.9, 0.8))]
    other = [("b", q, score) for q, score in ((0.8, 0.0), (0.9, 0.1))]
    assert ranked([*first, *other, ("c", 0.0, 1.0)]) == "Spearman within parents 1.00 (n=5)"
    assert ranked(first[:1]) == "Spearman within parents undefined (n=0)"


async def test_the_line_counts_decisions_and_names_what_it_rests_on(tmp_path: Path) -> None:
    """Rounds in which Q abstained are counted apart; without any prediction there is no line."""
    chosen = config(tmp_path / "a", *CHOOSING, "q.fewest=4")
    await play(chosen, Quick(), predictor=SurrogatePredictor(fewest=4))
    with closing(Store(tmp_path / "a" / "run.sqlite")) as store:
        said = worth_of_q(store, chosen)
    assert said is not None
    assert said.startswith("surrogate, rests on 8 evaluations, Spearman within parents")
    assert " of 5 decisions, chosen - mean predicted +" in said
    assert "abstained in 3 of 8 rounds (with fewer than q.fewest=4 evaluations" in said
    plain = config(tmp_path / "b", "rounds=2")
    await play(plain, Quick())
    with closing(Store(tmp_path / "b" / "run.sqlite")) as store:
        assert worth_of_q(store, plain) is None


def test_a_training_counts_its_last_validation_alone(tmp_path: Path) -> None:
    """Validations at steps 0 and 2, whose Q ranks the wrong and the right way around, and the sessions between."""
    file = tmp_path / "run.sqlite"
    Store(file).close()
    with closing(sqlite3.connect(file)) as disk, disk:
        disk.execute("DROP TABLE nodes")
        disk.execute("CREATE TABLE nodes (session, round, parent, step, score, payload)")
        for session, step, q in (("validate/a/0/0/0", 0, (0.9, 0.1)), ("validate/b/0/2/0", 2, (0.1, 0.9))):
            for number, (each, score) in enumerate(zip(q, (0.2, 0.8), strict=True), start=2):
                payload = {"open": 2, "w": 0.5, "q": each, "q_mean": 0.5}
                disk.execute(
                    "INSERT INTO nodes VALUES (?,?,1,?,?,?)", (session, number, step, score, json.dumps(payload))
                )
        disk.execute("INSERT INTO nodes VALUES ('train/c/0/3/0', 2, 1, 3, 0.5, '{\"open\": 1, \"w\": 0.0}')")
    with closing(ReadOnlyStore(file)) as store:
        said = worth_of_q(store, config(tmp_path, "q.kind=surrogate"))
    assert (
        said == "surrogate, Spearman within parents 1.00 (n=2), changed 0 of 2 decisions, chosen - mean predicted +0.00"
    )
