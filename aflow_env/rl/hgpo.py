# SPDX-License-Identifier: Apache-2.0
"""HGPO: GiGPO's step groups, nested by history (verl-agent's recipe/hgpo, ICLR 2026).

Two rows with the same anchor need not be in the same situation: they may have come by different ways. HGPO groups the
rows of a uid by their last k anchors for k = 1 .. history_length + 1 (k = 1 is GiGPO's group, larger k are smaller
groups inside it) and averages the advantages of the levels, the more specific weighing more:

    A_k = norm of G_t over the rows with the same last k anchors            groups of two rows or more
    A   = sum_k w_k A_k,  w_k = (k + 1)^alpha / (sum of the same over the levels in use + 1e-6)

A level is in use for a row where its group has two rows or more and A_k is not zero; with `base_group` the episode
advantage joins as level 0. Otherwise there is no episode part. The deviation is the population's (n, not n - 1), as
in the reference. With no level in use A = 0.
"""

import torch
from pydantic import Field
from torch import Tensor

from aflow_env.rl.anchors import NO_SIGNAL
from aflow_env.rl.gigpo import EPSILON, Credit, GigpoConfig, GigpoResult, anchor_groups, episode_advantages, finish
from aflow_env.rl.rows import GigpoRows, chronological, group_statistics, pair


class HgpoConfig(GigpoConfig):
    """GiGPO's switches and three more; `step_advantage_w` has no meaning here (the levels are averaged, not added)."""

    history_length: int = Field(default=2, ge=0)
    level_alpha: float = 1.0
    base_group: bool = False


def compute_hgpo(rows: GigpoRows, config: HgpoConfig | None = None) -> GigpoResult:
    """Advantages of a batch by HGPO; the result's step part is the average over levels, base group included."""
    config = config or HgpoConfig()
    credit = Credit.of(rows, config)
    anchor_M = anchor_groups(rows, credit, config)
    episode_M = episode_advantages(credit, config) if config.base_group else torch.zeros_like(credit.score_M)
    weighted_M, weight_M = torch.zeros_like(episode_M), torch.zeros_like(episode_M)
    levels = [
        episode_M,
        *(level_advantages(credit.return_M, group_M, config) for group_M in nested(credit, anchor_M, config)),
    ]
    for k, advantage_M in enumerate(levels):
        in_use_M = (advantage_M.abs() > NO_SIGNAL) * (k + 1.0) ** config.level_alpha
        weighted_M += in_use_M * advantage_M
        weight_M += in_use_M
    total_M = weighted_M / (weight_M + EPSILON)
    return finish(rows, credit, anchor_M, episode_M, total_M, total_M)


def nested(credit: Credit, anchor_M: Tensor, config: HgpoConfig) -> list[Tensor]:
    """One (M,) column of group ids a level: level k groups rows of a uid by their last k anchors.

    A row with fewer than k steps behind it is alone at level k (its id is its own place): no level, no advantage.
    """
    order_M = chronological(credit.trajectory_M, credit.step_M)
    trajectory_M, latest_M = credit.trajectory_M[order_M], anchor_M[order_M]
    place_M = torch.arange(len(order_M), device=order_M.device)
    levels = [anchor_M]
    group_M = latest_M
    for k in range(2, config.history_length + 2):
        before_M = (place_M - 1).clamp(min=0)
        has_history_M = (place_M >= k - 1) & (trajectory_M == trajectory_M[(place_M - k + 1).clamp(min=0)])
        longer_M = pair(group_M[before_M], latest_M)
        group_M = pair(torch.where(has_history_M, longer_M, len(order_M) + place_M), torch.zeros_like(place_M))
        levels.append(torch.empty_like(group_M).index_copy_(0, order_M, group_M))
    return levels


def level_advantages(return_M: Tensor, group_M: Tensor, config: HgpoConfig) -> Tensor:
    """(M,) step returns against the group's mean; 0 where a row is alone."""
    _, mean_G, std_G = group_statistics(return_M, group_M, correction=0)
    advantage_M = return_M - mean_G[group_M]
    return advantage_M / (std_G + EPSILON)[group_M] if config.mode == "mean_std_norm" else advantage_M
