# SPDX-License-Identifier: Apache-2.0
"""HGPO: groups nested by history, averaged with the specific ones weighing more."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.rl.gigpo import GigpoConfig
from aflow_env.rl.hgpo import HgpoConfig, compute_hgpo
from tests.rl.batches import Row, batch, configs, examples, paddings, row_lists
from tests.training.rollout.loops import loop_hgpo


def with_history(config: GigpoConfig, history_length: int, alpha: float, base_group: bool) -> HgpoConfig:
    return HgpoConfig(**config.model_dump(), history_length=history_length, level_alpha=alpha, base_group=base_group)


hgpo_configs = st.builds(with_history, configs, st.integers(0, 3), st.sampled_from([0.0, 1.0, 2.0]), st.booleans())


@examples
@given(row_lists(), hgpo_configs)
def test_vectorised_agrees_with_the_loop(rows: list[Row], config: HgpoConfig) -> None:
    edits = torch.tensor([row.kind == "edit" for row in rows])
    got, expected = compute_hgpo(batch(rows), config).advantages, loop_hgpo(batch(rows), config)
    torch.testing.assert_close(got[edits], expected[edits], rtol=1e-4, atol=1e-5)


@examples
@given(row_lists(), hgpo_configs, st.lists(paddings, min_size=1, max_size=4))
def test_order_and_padding_change_nothing(rows: list[Row], config: HgpoConfig, padding: list[Row]) -> None:
    there = compute_hgpo(batch(rows), config).advantages
    mixed = compute_hgpo(batch([*padding, *rows[::-1]]), config).advantages
    torch.testing.assert_close(mixed[len(padding) :], there.flip(0), rtol=1e-4, atol=1e-5)
    assert not mixed[: len(padding)].any()


def test_rows_that_came_the_same_way_weigh_more() -> None:
    """Three sessions meet in w: two by way of a, one by way of b. gamma = 0, so a return is its own reward."""
    rows = [
        Row("u0", "0", "a", 0, 0.0), Row("u0", "0", "w", 1, 1.0),
        Row("u0", "1", "a", 0, 0.0), Row("u0", "1", "w", 1, 0.5),
        Row("u0", "2", "b", 0, 0.0), Row("u0", "2", "w", 1, 0.0),
    ]  # fmt: skip
    result = compute_hgpo(batch(rows), HgpoConfig(gamma=0.0, history_length=2))
    # level 1: 1 - 0.5, weight 2; level 2: 1 - 0.75, weight 3; level 3: nobody has three steps
    assert result.advantages_step[1].item() == pytest.approx((2 * 0.5 + 3 * 0.25) / 5, abs=1e-6)
    # level 1: exactly at the mean, hence not in use; level 2: 0.5 - 0.75
    assert result.advantages_step[3].item() == pytest.approx(-0.25, abs=1e-6)
    # level 1 alone: nobody else came by b
    assert result.advantages_step[5].item() == pytest.approx(-0.5, abs=1e-6)
    assert not result.advantages_step[[0, 2, 4]].any()


def test_without_history_it_is_the_step_part_of_gigpo_with_the_episode_as_an_option() -> None:
    rows = [Row("u0", "0", "a", 0, 1.0), Row("u0", "1", "a", 0, 0.0)]
    plain = compute_hgpo(batch(rows), HgpoConfig(history_length=0))
    torch.testing.assert_close(plain.advantages_step, torch.tensor([0.5, -0.5]), rtol=1e-5, atol=1e-5)
    assert not plain.advantages_episode.any()
    based = compute_hgpo(batch(rows), HgpoConfig(history_length=0, base_group=True))
    torch.testing.assert_close(based.advantages_episode, torch.tensor([0.5, -0.5]))
    torch.testing.assert_close(based.advantages_step, torch.tensor([0.5, -0.5]), rtol=1e-5, atol=1e-5)


def test_histories_do_not_reach_across_sessions() -> None:
    rows = [Row("u0", "0", "a", 0, 1.0), Row("u0", "0", "b", 1, 1.0), Row("u0", "1", "b", 0, 0.0)]
    result = compute_hgpo(batch(rows), HgpoConfig(gamma=0.0, history_length=1))
    torch.testing.assert_close(result.advantages_step, torch.tensor([0.0, 0.5, -0.5]), rtol=1e-5, atol=1e-5)
