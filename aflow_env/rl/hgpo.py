# SPDX-License-Identifier: Apache-2.0
"""HGPO: GiGPO's step groups, nested by history (verl-agent's recipe/hgpo, ICLR 2026).

Two steps with the same anchor may have different histories. HGPO groups the steps of a uid by their last k anchors for
k = 1 .. history_length + 1. Level 1 is GiGPO's group, and each higher level splits the groups of the level below. The
advantage is a weighted average over levels:

    A_k = norm of G_t over the steps with the same last k anchors
    A   = sum_k w_k A_k / (sum_k w_k + 1e-6),   w_k = (k + 1)^level_alpha over the levels with A_k != 0

With `base_group` the episode advantage A_E joins as level 0; otherwise there is no episode part. The deviation is the
population's (n, not n - 1), as in the reference. With no level in use A = 0.
"""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from aflow_env.config.section import Section
from aflow_env.rl.gigpo import EPSILON, Mode, episode_advantages, norm, step_returns
from aflow_env.rl.rows import NO_SIGNAL, Steps, pair_ids


class HgpoConfig(Section):
    """The switches of HGPO: `algorithm.hgpo`, and verl's `algorithm.gamma`."""

    gamma: float = Field(default=0.95, ge=0.0, le=1.0)
    mode: Mode = "mean_norm"
    history_length: int = Field(default=2, ge=0)
    level_alpha: float = 1.0
    base_group: bool = False


def hgpo(steps: Steps, config: HgpoConfig) -> Tensor:
    """Return the (M,) weighted averages over levels."""
    return_M = step_returns(steps, config.gamma)
    groups = history_groups(steps, config.history_length)
    levels = dict(enumerate((norm(return_M, group_M, config.mode, correction=0) for group_M in groups), start=1))
    if config.base_group:
        levels[0] = episode_advantages(steps, config.mode)
    weighted_M, weight_M = torch.zeros_like(return_M), torch.zeros_like(return_M)
    for k, advantage_M in levels.items():
        weight_k_M = (advantage_M.abs() > NO_SIGNAL) * (k + 1.0) ** config.level_alpha
        weighted_M += weight_k_M * advantage_M
        weight_M += weight_k_M
    return weighted_M / (weight_M + EPSILON)


def history_groups(steps: Steps, history_length: int) -> Iterator[Tensor]:
    """Yield the (M,) group ids of levels 1 to history_length + 1.

    A step with fewer than k - 1 steps before it is alone at level k.
    """
    place_M = torch.arange(len(steps.session_M), device=steps.session_M.device)
    group_M = steps.anchor_M
    yield group_M
    for back in range(1, history_length + 1):
        has_history_M = (place_M >= back) & (steps.session_M == steps.session_M.roll(back))
        longer_M = pair_ids(group_M.roll(1), steps.anchor_M)
        alone_M = len(place_M) + place_M
        group_M = torch.unique(torch.where(has_history_M, longer_M, alone_M), return_inverse=True)[1]
        yield group_M
