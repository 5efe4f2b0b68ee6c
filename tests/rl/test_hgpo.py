# SPDX-License-Identifier: Apache-2.0
"""HGPO: groups nested by history, averaged with the specific ones weighing more."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.rl.hgpo import HgpoConfig, hgpo
from tests.rl.batches import Row, advantages, batch, examples, others, row_lists
from tests.rl.loops import loop_hgpo

configs = st.builds(
    HgpoConfig,
    gamma=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    mode=st.sampled_from(["mean_norm", "mean_std_norm"]),
    history_length=st.integers(0, 3),
    level_alpha=st.sampled_from([0.0, 1.0, 2.0]),
    base_group=st.booleans(),
)


@examples
@given(row_lists(), configs)
def test_vectorised_agrees_with_the_loop(rows: list[Row], config: HgpoConfig) -> None:
    """The vectorised advantages are those of the equations, written as loops."""
    torch.testing.assert_close(advantages(rows, hgpo, config), loop_hgpo(batch(rows), config), rtol=1e-4, atol=1e-5)


@examples
@given(row_lists(), configs, st.lists(others, min_size=1, max_size=4))
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
