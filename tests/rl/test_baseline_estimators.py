# SPDX-License-Identifier: Apache-2.0
"""The baselines compute what their papers define; HGPO nests groups by history, and specific ones weigh more."""

from collections import defaultdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.rl.baseline_estimators import (
    GrpoConfig,
    HgpoConfig,
    ReinforcePlusPlusConfig,
    RlooConfig,
    grpo,
    hgpo,
    reinforce_plus_plus,
    rloo,
)
from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.rows import token_advantages
from tests.rl.batches import Row, advantages, batch, configs, examples, others, row_lists
from tests.rl.loops import loop_hgpo


@examples
@given(row_lists(), configs)
def test_grpo_is_gigpo_without_steps(rows: list[Row], config: GigpoConfig) -> None:
    """GRPO written out: every session counts once, R against the sessions of its uid; GiGPO with w = 0 is the same."""
    returns: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in rows:
        returns[row.uid][row.trajectory] += row.reward
    expected = []
    for row in rows:
        own = torch.tensor(list(returns[row.uid].values()), dtype=torch.float64)
        scale = 1.0 if config.mode == "mean_norm" or len(own) == 1 else own.std().item() + 1e-6
        expected.append((returns[row.uid][row.trajectory] - own.mean().item()) / scale)
    got = advantages(rows, grpo, GrpoConfig(mode=config.mode))
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-4, atol=1e-5)
    assert torch.equal(got, advantages(rows, gigpo, config.model_copy(update={"step_advantage_w": 0.0})))


def test_rloo_compares_with_the_mean_of_the_others() -> None:
    """The only session of a uid has no others, and gets 0."""
    rows = [Row("u0", str(i), "a", 0, reward) for i, reward in enumerate([1.0, 0.0, 0.5])]
    got = advantages([*rows, Row("u1", "0", "a", 0, 2.0)], rloo, RlooConfig())
    torch.testing.assert_close(got, torch.tensor([1.0 - 0.25, 0.0 - 0.75, 0.5 - 0.5, 0.0]))


def test_reinforce_plus_plus_whitens_over_tokens() -> None:
    """Over the trained tokens of the batch the advantages have mean 0 and deviation 1."""
    rows = [
        Row("u0", "0", "a", 0, 1.0, length=3),
        Row("u1", "0", "b", 0, 0.0, length=1),
        Row("u1", "1", "b", 0, 0.5, length=2),
    ]
    mask = batch(rows).response_mask
    found = token_advantages(advantages(rows, reinforce_plus_plus, ReinforcePlusPlusConfig()), mask)
    tokens = found[mask.bool()].double()
    assert tokens.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert tokens.std().item() == pytest.approx(1.0, abs=1e-6)
    assert found[0, 0] > found[2, 0] > found[1, 0]


hgpo_configs = st.builds(
    HgpoConfig,
    gamma=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    mode=st.sampled_from(["mean_norm", "mean_std_norm"]),
    history_length=st.integers(0, 3),
    level_alpha=st.sampled_from([0.0, 1.0, 2.0]),
    base_group=st.booleans(),
)


@examples
@given(row_lists(), hgpo_configs)
def test_vectorised_agrees_with_the_loop(rows: list[Row], config: HgpoConfig) -> None:
    """The vectorised advantages are those of the equations, written as loops."""
    torch.testing.assert_close(advantages(rows, hgpo, config), loop_hgpo(batch(rows), config), rtol=1e-4, atol=1e-5)


@examples
@given(row_lists(), hgpo_configs, st.lists(others, min_size=1, max_size=4))
def test_order_and_other_rows_change_nothing(rows: list[Row], config: HgpoConfig, more: list[Row]) -> None:
    """Reversed, and behind value rows and padding, each edit gets the same advantage."""
    there, mixed = advantages(rows, hgpo, config), advantages([*more, *rows[::-1]], hgpo, config)
    torch.testing.assert_close(mixed[len(more) :], there.flip(0), rtol=1e-4, atol=1e-5)
    assert not mixed[: len(more)].any()


def test_rows_that_came_the_same_way_weigh_more() -> None:
    """Three sessions meet in w: two by way of a, one by way of b. gamma = 0, so a return is its own reward."""
    rows = [
        Row("u0", "0", "a", 0, 0.0), Row("u0", "0", "w", 1, 1.0),
        Row("u0", "1", "a", 0, 0.0), Row("u0", "1", "w", 1, 0.5),
        Row("u0", "2", "b", 0, 0.0), Row("u0", "2", "w", 1, 0.0),
    ]  # fmt: skip
    found = advantages(rows, hgpo, HgpoConfig(gamma=0.0, history_length=2))
    # level 1: 1 - 0.5, weight 2; level 2: 1 - 0.75, weight 3; level 3: nobody has three steps
    assert found[1].item() == pytest.approx((2 * 0.5 + 3 * 0.25) / 5, abs=1e-6)
    # level 1: exactly at the mean, hence not in use; level 2: 0.5 - 0.75
    assert found[3].item() == pytest.approx(-0.25, abs=1e-6)
    # level 1 alone: nobody else came by b
    assert found[5].item() == pytest.approx(-0.5, abs=1e-6)
    assert not found[[0, 2, 4]].any()


def test_without_history_it_is_the_step_part_of_gigpo_with_the_episode_as_an_option() -> None:
    """The base group joins as level 0 with weight 1, beside level 1 with weight 2."""
    rows = [Row("u0", "0", "a", 0, 1.0), Row("u0", "1", "a", 0, 0.0), Row("u0", "0", "b", 1, 1.0)]
    plain = advantages(rows, hgpo, HgpoConfig(gamma=0.0, history_length=0))
    torch.testing.assert_close(plain, torch.tensor([0.5, -0.5, 0.0]), rtol=1e-5, atol=1e-5)
    based = advantages(rows, hgpo, HgpoConfig(gamma=0.0, history_length=0, base_group=True))
    expected = torch.tensor([(1 * 1 + 2 * 0.5) / 3, (1 * -1 + 2 * -0.5) / 3, 1.0])
    torch.testing.assert_close(based, expected, rtol=1e-5, atol=1e-5)


def test_histories_do_not_reach_across_sessions() -> None:
    """The first step of session 1 has no way behind it, although session 0's last row lies before it."""
    rows = [Row("u0", "0", "a", 0, 1.0), Row("u0", "0", "b", 1, 1.0), Row("u0", "1", "b", 0, 0.0)]
    found = advantages(rows, hgpo, HgpoConfig(gamma=0.0, history_length=1))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.5, -0.5]), rtol=1e-5, atol=1e-5)


def test_a_history_that_no_session_has_costs_nothing() -> None:
    """A longer one than the longest session has no more levels."""
    rows = [Row("u0", str(session), "a", step, 0.5 * session) for session in range(2) for step in range(3)]
    most = advantages(rows, hgpo, HgpoConfig(history_length=10**9))
    assert torch.equal(most, advantages(rows, hgpo, HgpoConfig(history_length=2)))
