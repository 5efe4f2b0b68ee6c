# SPDX-License-Identifier: Apache-2.0
"""The baselines compute what their papers define."""

from collections import defaultdict

import pytest
import torch
from hypothesis import given

from aflow_env.rl.baseline_estimators import (
    GrpoConfig,
    ReinforcePlusPlusConfig,
    RlooConfig,
    grpo,
    reinforce_plus_plus,
    rloo,
)
from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.rows import token_advantages
from tests.rl.batches import Row, advantages, batch, configs, examples, row_lists


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
