# SPDX-License-Identifier: Apache-2.0
"""Selection: AFlow's own numbers with w = 0 and c_ucb = 0, and what must hold for every other setting."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aflow_env.config import SelectionConfig
from aflow_env.search.choice.selection import (
    Chosen,
    candidates,
    choose,
    fuse,
    mixed_probabilities,
    select,
    ucb,
)
from tests.search.golden import check_convergence, check_selection
from tests.search.support import examples

shares = st.floats(0, 1, allow_nan=False)
some_scores = arrays(np.float64, st.integers(1, 40), elements=shares)
# few distinct values, so that ties are common
tied_scores = arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))


def rules(c_ucb: float = 0.0, sample: int = 4) -> SelectionConfig:
    return SelectionConfig(sample=sample, alpha=0.2, lambda_=0.3, c_ucb=c_ucb)


def aflow_select(scores: list[float], sample: int, alpha: float, lambda_: float, rng: np.random.RandomState) -> int:
    """AFlow's selection written down again from its description: lists and sorted()."""
    ranked = sorted(enumerate(scores, 1), key=lambda item: item[1], reverse=True)
    top = [item for item in ranked if item[0] == 1]
    for item in ranked:
        if item[0] != 1:
            top.append(item)
            if len(top) >= sample:
                break
    top = sorted(top, key=lambda item: item[1], reverse=True)
    hundreds = np.array([score * 100 for _, score in top])
    weights = np.exp(alpha * (hundreds - hundreds.max()))
    mixed = lambda_ / len(top) + (1 - lambda_) * weights / weights.sum()
    return top[rng.choice(len(top), p=mixed)][0]


def draw_ours(scores: Any, rng: Any, config: SelectionConfig, **more: Any) -> Any:
    given = {"visits": np.ones(len(scores), dtype=np.int64)} | more
    return select(rounds=range(1, len(scores) + 1), means=np.asarray(scores), config=config, rng=rng, **given)


def pick(
    ucb: np.ndarray,
    q: np.ndarray | None,
    w: float,
    config: SelectionConfig,
    uniform: float,
    calls: np.ndarray | None = None,
) -> Chosen:
    """`choose` among pairs whose workflows cost one call each, where nothing else is said."""
    calls = np.ones(len(ucb), np.int64) if calls is None else calls
    return choose(ucb=ucb, q=q, calls=calls, w=w, config=config, uniform=uniform)


@pytest.mark.parametrize("preset", [SelectionConfig(alpha=0.2, lambda_=0.3), SelectionConfig(alpha=0.4, lambda_=0.2)])
@pytest.mark.parametrize("sample", [1, 2, 4, 7])
def test_a_whole_search_selects_as_stock_aflow_given_the_same_scores_and_draws(
    preset: SelectionConfig, sample: int
) -> None:
    config = preset.model_copy(update={"sample": sample, "c_ucb": 0.0})
    theirs, ours = np.random.RandomState(7), np.random.RandomState(7)
    scores: list[float] = [0.4]
    noise = np.random.default_rng(1)
    for _ in range(300):
        expected = aflow_select(scores, sample, config.alpha, config.lambda_, theirs)
        assert draw_ours(scores, ours, config).round == expected
        scores.append(float(noise.choice([noise.random(), 0.4, 0.5, max(scores)])))


@examples
@given(some_scores, st.integers(1, 6), shares, st.floats(0, 2), shares)
def test_probabilities_are_a_distribution_and_round_1_is_always_a_candidate(
    scores: np.ndarray, sample: int, lambda_: float, alpha: float, uniform: float
) -> None:
    config = SelectionConfig(sample=sample, alpha=alpha, lambda_=lambda_, c_ucb=0.1)
    chosen = draw_ours(scores, np.random.default_rng(0), config)
    assert sum(chosen.probabilities) == pytest.approx(1.0)
    assert min(chosen.probabilities) >= lambda_ / len(chosen.rounds) - 1e-12
    assert 1 in chosen.rounds
    assert len(chosen.rounds) == min(len(scores), max(sample, 2))
    assert chosen.round in chosen.rounds
    assert list(chosen.ucb) == sorted(chosen.ucb, reverse=True)


@examples
@given(tied_scores, st.integers(1, 6))
def test_candidates_are_round_1_and_the_best_others_with_ties_to_the_lower_round(c: np.ndarray, sample: int) -> None:
    others = sorted(range(1, len(c)), key=lambda i: (-c[i], i))[: max(sample, 2) - 1]
    assert candidates(c, sample).tolist() == sorted([0, *others], key=lambda i: (-c[i], i))


@examples
@given(tied_scores, st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_in_which_nodes_are_listed_does_not_matter(scores: np.ndarray, sample: int, random: Any) -> None:
    order = list(range(len(scores)))
    random.shuffle(order)
    rounds = np.array(order) + 1
    ones = np.ones(len(scores), dtype=np.int64)
    config = rules(c_ucb=0.2, sample=sample)
    one = draw_ours(scores, np.random.default_rng(3), config)
    other = select(rounds=rounds, means=scores[order], visits=ones, config=config, rng=np.random.default_rng(3))
    assert one == other


@examples
@given(some_scores, st.randoms(use_true_random=False))
def test_probabilities_follow_their_candidate_when_candidates_are_permuted(c: np.ndarray, random: Any) -> None:
    order = list(range(len(c)))
    random.shuffle(order)
    assert mixed_probabilities(c[order], 0.2, 0.3) == pytest.approx(mixed_probabilities(c, 0.2, 0.3)[order])


@examples
@given(some_scores, st.data(), shares)
def test_w_0_ignores_q_and_w_1_ignores_ucb(scores: np.ndarray, data: st.DataObject, uniform: float) -> None:
    """The side of weight 0 has no influence, whatever it holds."""
    q = data.draw(arrays(np.float64, len(scores), elements=shares))
    uniform = min(uniform, 0.999)
    stock = pick(scores, None, 0.0, rules(), uniform)
    assert pick(scores, np.full(len(scores), np.nan), 0.0, rules(), uniform) == stock
    led, misled = (pick(each, q, 1.0, rules(), uniform) for each in (scores, 1 - scores))
    assert (led.place, led.probabilities) == (misled.place, misled.probabilities)


@examples
@given(some_scores, st.data(), shares)
def test_the_fusion_lies_between_ucb_and_q(scores: np.ndarray, data: st.DataObject, w: float) -> None:
    q = data.draw(arrays(np.float64, len(scores), elements=shares))
    c = fuse(scores, q, w)
    assert (c >= np.minimum(scores, q) - 1e-12).all()
    assert (c <= np.maximum(scores, q) + 1e-12).all()


@examples
@given(some_scores, st.data(), st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_a_weight_in_between_changes_probabilities_as_the_formula_says(
    scores: np.ndarray, data: st.DataObject, w: float
) -> None:
    """P(i) = lambda/n + (1 - lambda) softmax(100 alpha c), c = (1 - w) UCB + w Q, written down without our helpers."""
    q = data.draw(arrays(np.float64, len(scores), elements=shares))
    chosen = pick(scores, q, w, rules(), 0.5)
    c = (1 - w) * scores + w * q
    soft = np.exp(20 * (c - c.max()))
    assert chosen.probabilities == pytest.approx(0.3 / len(c) + 0.7 * soft / soft.sum())


@examples
@given(some_scores, st.data(), shares, st.floats(0, 0.999))
def test_a_decision_is_changed_where_the_same_draw_picks_another_pair_without_q(
    scores: np.ndarray, data: st.DataObject, w: float, uniform: float
) -> None:
    """`changed` compares the pair drawn with the pair that w = 0 draws; a Q that repeats UCB changes nothing."""
    q = data.draw(arrays(np.float64, len(scores), elements=shares))
    led = pick(scores, q, w, rules(), uniform)
    assert led.changed == (led.place != pick(scores, None, 0.0, rules(), uniform).place)
    assert not pick(scores, scores, 1.0, rules(), uniform).changed


def test_with_w_0_the_edits_of_a_node_are_drawn_uniformly() -> None:
    """The control: pairs of one node have one c, so they are equally likely."""
    bounds = np.array([0.9] * 4 + [0.2] * 4)
    found = pick(bounds, None, 0.0, rules(), 0.5).probabilities
    assert len(set(found[:4])) == len(set(found[4:])) == 1
    assert found[0] > found[4]


@examples
@given(some_scores, st.data(), shares, st.floats(0, 0.999))
def test_a_pair_is_less_likely_by_the_calls_of_its_workflow(
    scores: np.ndarray, data: st.DataObject, w: float, uniform: float
) -> None:
    """P(i) / calls(i), normalised; calls that are all alike change nothing."""
    q = data.draw(arrays(np.float64, len(scores), elements=shares))
    calls = data.draw(arrays(np.int64, len(scores), elements=st.integers(1, 20)))
    free = np.array(pick(scores, q, w, rules(), uniform).probabilities)
    paid = pick(scores, q, w, rules(), uniform, calls).probabilities
    assert paid == pytest.approx(free / calls / (free / calls).sum())
    alike = pick(scores, q, w, rules(), 0.5, np.full(len(scores), 4))
    assert alike.probabilities == pytest.approx(free)


def test_whether_q_decided_is_seen_at_equal_calls() -> None:
    """The draw with w = 0 that a decision is compared with divides by the same calls."""
    even, calls = np.full(4, 0.5), np.array([1, 9, 9, 9])
    assert not pick(even, even, 1.0, rules(), 0.7, calls).changed
    assert pick(even, even, 1.0, rules(), 0.7, calls).place == 0


def test_of_equal_pairs_the_earlier_one_stands_first() -> None:
    """Ties go to the order of the pairs: with equal c the uniform draw runs through them from the first to the last."""
    even = np.full(4, 0.5)
    assert [pick(even, even, 0.5, rules(), uniform).place for uniform in (0.1, 0.3, 0.6, 0.9)] == [0, 1, 2, 3]


@pytest.mark.parametrize("q", [None, np.array([0.5, np.nan]), np.array([0.5, 1.5])])
def test_a_missing_q_is_an_error_that_names_the_key_and_never_a_zero(q: np.ndarray | None) -> None:
    """A Q that is not there or is no score is refused."""
    with pytest.raises(ValueError, match=r"aflow.rl_weight=0.5"):
        pick(np.array([0.1, 0.2]), q, 0.5, rules(), 0.5)


def test_ucb_is_the_mean_without_exploration_and_favours_the_less_visited_with_it() -> None:
    mean, visits = np.array([0.5, 0.5, 0.9]), np.array([1, 9, 2])
    assert ucb(mean, visits, 12, 0.0).tolist() == mean.tolist()
    bounds = ucb(mean, visits, 12, 0.1)
    assert bounds[0] == pytest.approx(0.5 + 0.1 * np.sqrt(np.log(12) / 1))
    assert bounds[0] > bounds[1] > 0.5
    assert ucb(mean, visits, 12, 5.0).max() == 1.0


def test_a_search_without_round_1_is_an_error() -> None:
    with pytest.raises(ValueError, match="round 1"):
        candidates(np.array([0.5, 0.5]), 4, np.array([2, 3]))


def test_recorded_outputs_of_aflow_agree(shared: Path) -> None:
    data = json.loads((shared / "golden" / "aflow.json").read_text())
    cases, error = check_selection(data["selection"])
    assert cases > 0
    assert error < 1e-7
    assert check_convergence(data["convergence"])[1] == 0.0


def test_the_golden_check_notices_a_difference() -> None:
    case = {"scores_by_round": [0.5, 0.9], "sample": 2, "rounds": [2, 1], "probabilities": [0.5, 0.5]}
    assert check_selection({"alpha": 0.2, "lambda_": 0.3, "cases": [case]})[1] > 0.1
    assert check_selection({"alpha": 0.2, "lambda_": 0.3, "cases": [case | {"rounds": [1, 2]}]})[1] == float("inf")
    section = {"top_k": 3, "z": 0, "consecutive_rounds": 5}
    same = {"results": [{"round": i, "score": 0.5} for i in range(6)], "converged": [False, None, None]}
    assert check_convergence(section | {"cases": [same]})[1] == float("inf")
