# SPDX-License-Identifier: Apache-2.0
"""Baselines on the same steps as GiGPO: GRPO, RLOO and REINFORCE++."""

import torch
from pydantic import Field
from torch import Tensor

from aflow_env.config.section import Section
from aflow_env.rl.gigpo import Mode, episode_advantages, episode_returns, norm, step_returns
from aflow_env.rl.rows import Steps, group_sum

WHITENING_EPSILON = 1e-8


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
