# SPDX-License-Identifier: Apache-2.0
"""Estimators to compare GiGPO with, on the same steps: HGPO, GRPO, RLOO and REINFORCE++."""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from aflow_env.config.section import Section
from aflow_env.rl.gigpo import EPSILON, Mode, episode_advantages, episode_returns, norm, step_returns
from aflow_env.rl.rows import NO_SIGNAL, Steps, group_sum, pair_ids

WHITENING_EPSILON = 1e-8


class HgpoConfig(Section):
    """The switches of HGPO: `algorithm.hgpo`, and verl's `algorithm.gamma`."""

    gamma: float = Field(default=0.95, ge=0.0, le=1.0)
    mode: Mode = "mean_norm"
    history_length: int = Field(default=2, ge=0)
    level_alpha: float = 1.0
    base_group: bool = False


class GrpoConfig(Section):
    """`mean_std_norm` is the paper's form, `mean_norm` that of Dr. GRPO (arXiv 2503.20783)."""

    mode: Mode = "mean_norm"


class RlooConfig(Section):
    """RLOO has no switches."""


class ReinforcePlusPlusConfig(Section):
    """verl's `algorithm.gamma`."""

    gamma: float = Field(default=0.95, ge=0.0, le=1.0)


def grpo(steps: Steps, config: GrpoConfig) -> Tensor:
    """GRPO on sessions (arXiv 2402.03300, section 4.1.2): A = norm of R over the sessions of the uid."""
    return episode_advantages(steps, config.mode)


def rloo(steps: Steps, config: RlooConfig) -> Tensor:
    """RLOO (arXiv 2402.14740): A = R - mean R of the other sessions of the uid; 0 for the only session of one."""
    return_S, uid_S = episode_returns(steps)
    size_S = group_sum(torch.ones_like(return_S), uid_S)[uid_S]
    others_S = size_S / (size_S - 1).clamp(min=1)  # R - mean of the others = n / (n - 1) * (R - mean)
    return (norm(return_S, uid_S, "mean_norm") * others_S)[steps.session_M]


def reinforce_plus_plus(steps: Steps, config: ReinforcePlusPlusConfig) -> Tensor:
    """REINFORCE++ (arXiv 2501.03262): A = (G_t - mean) / std of the step returns over the whole batch; no groups.

    Mean and deviation weigh each step by its number of trained tokens, as verl's `masked_whiten` does.
    """
    return_M, tokens_M = step_returns(steps, config.gamma), steps.tokens_M
    total = tokens_M.sum()
    mean = (tokens_M * return_M).sum() / total.clamp(min=1)
    variance = (tokens_M * (return_M - mean) ** 2).sum() / (total - 1).clamp(min=1)
    return (return_M - mean) * torch.rsqrt(variance + WHITENING_EPSILON)


def hgpo(steps: Steps, config: HgpoConfig) -> Tensor:
    """HGPO: GiGPO's step groups, nested by history (verl-agent's recipe/hgpo, ICLR 2026).

    Two steps with the same anchor may have different histories. Level k = 1 .. history_length + 1 groups the steps of a
    uid by their last k anchors, so level 1 is GiGPO's group. The advantage is a weighted average over levels:

        A_k = norm of G_t over the steps with the same last k anchors
        A   = sum_k w_k A_k / (sum_k w_k + 1e-6),   w_k = (k + 1)^level_alpha over the levels with A_k != 0

    With `base_group` the episode advantage A_E joins as level 0; otherwise there is no episode part. The deviation is
    the population's (n, not n - 1), as in the reference. With no level in use A = 0.
    """
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
    """Yield the (M,) group ids of HGPO's levels. A step with fewer than k - 1 steps before it is alone at level k."""
    place_M = torch.arange(len(steps.session_M), device=steps.session_M.device)
    group_M = steps.anchor_M
    yield group_M
    for back in range(1, history_length + 1):
        has_history_M = (place_M >= back) & (steps.session_M == steps.session_M.roll(back))
        if not has_history_M.any():
            return  # all steps would be alone, which gives them no advantage
        longer_M = pair_ids(group_M.roll(1), steps.anchor_M)
        alone_M = len(place_M) + place_M
        group_M = torch.unique(torch.where(has_history_M, longer_M, alone_M), return_inverse=True)[1]
        yield group_M
