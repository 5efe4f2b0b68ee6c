# SPDX-License-Identifier: Apache-2.0
"""What a step is worth: gains telescope, costs and penalties are charged once, failures are never scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.config import RewardConfig
from aflow_env.rl.reward import SessionStep, step_rewards

scores = st.integers(0, 100).map(lambda percent: percent / 100)
BEST, PARENT = RewardConfig(kind="best_gain"), RewardConfig(kind="parent_gain")
FREE = RewardConfig(invalid_penalty=0.0)


@given(scores, st.lists(st.none() | scores, max_size=12))
def test_best_gain_sums_to_best_minus_start(start: float, found: list[float | None]) -> None:
    """Without penalties and costs the rewards add up to the search's own goal, and none is negative."""
    steps = [SessionStep(score, parent_score=start, valid=score is not None) for score in found]
    rewards = step_rewards(start, steps, FREE)
    best = max([start, *(score for score in found if score is not None)])
    assert sum(rewards) == pytest.approx(best - start)
    assert min(rewards, default=0.0) >= 0.0


@given(scores, st.lists(scores, min_size=1, max_size=12))
def test_parent_gain_along_a_chain_sums_to_last_minus_start(start: float, found: list[float]) -> None:
    """Where each step edits the child of the step before, the gains telescope."""
    steps = [SessionStep(score, parent) for score, parent in zip(found, [start, *found[:-1]], strict=True)]
    assert sum(step_rewards(start, steps, PARENT)) == pytest.approx(found[-1] - start)


def test_parent_gain_looks_at_the_parent_and_best_gain_at_the_best() -> None:
    """The same three steps, by both rewards."""
    steps = [SessionStep(0.9, 0.5), SessionStep(0.4, 0.5), SessionStep(0.6, 0.4)]
    assert step_rewards(0.5, steps, PARENT) == pytest.approx([0.4, -0.1, 0.2])
    assert step_rewards(0.5, steps, BEST) == pytest.approx([0.4, 0.0, 0.0])


def test_cost_and_rejection_are_charged_once() -> None:
    """A step pays its own dollars, a rejected action the penalty."""
    found, rejected = SessionStep(0.7, 0.5, cost_usd=0.02), SessionStep(None, 0.7, valid=False)
    config = RewardConfig(cost_weight=2.0, invalid_penalty=0.1)
    rewards = step_rewards(0.5, [found, rejected, SessionStep(0.8, 0.7, cost_usd=0.01)], config)
    assert rewards == pytest.approx([0.2 - 0.04, -0.1, 0.1 - 0.02])


def test_a_rejected_action_neither_gains_nor_moves_the_best() -> None:
    """The score of a rejected action is not read, even where it has one."""
    steps = [SessionStep(0.9, 0.5, valid=False), SessionStep(0.6, 0.5)]
    assert step_rewards(0.5, steps, FREE) == pytest.approx([0.0, 0.1])


def test_an_accepted_step_without_a_score_is_refused() -> None:
    """A failure of the infrastructure is no score."""
    with pytest.raises(ValueError, match="step 1 was accepted but has no score"):
        step_rewards(0.5, [SessionStep(0.6, 0.5), SessionStep(None, 0.5)], BEST)


@pytest.mark.parametrize("score", [-0.1, 1.5, float("nan")])
def test_a_score_outside_the_unit_interval_is_refused(score: float) -> None:
    """The start, the child and the parent are all checked."""
    for start, step in ((score, SessionStep(0.5, 0.5)), (0.5, SessionStep(score, 0.5)), (0.5, SessionStep(0.5, score))):
        with pytest.raises(ValueError, match=r"scores are in \[0, 1\]"):
            step_rewards(start, [step], BEST)
