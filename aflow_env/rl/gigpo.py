# SPDX-License-Identifier: Apache-2.0
"""GiGPO, group-in-group policy optimisation (arXiv 2505.10978): from steps to one advantage a step.

    R     = sum of the step rewards of the session                         episode return
    A_E   = norm of R over the sessions of the uid                         eq. 3: was the whole search good?
    G_t   = r_t + gamma * G_{t+1}                                          eq. 6: step return
    A_S   = norm of G_t over the steps of the uid with the same anchor     eq. 7: was this step good from here?
    A     = A_E + step_advantage_w * A_S                                   eq. 8: on every token of the response

    norm(x) = x - mean                       mode=mean_norm
    norm(x) = (x - mean) / (std + 1e-6)      mode=mean_std_norm, std with n - 1

- Each session counts once in A_E, with any number of steps.
- The advantage of a group of one is 0.
- The order of rows in the batch is irrelevant. Padding rows and value rows are in no group (rows.py).
- Sums are float64, so a group of equal scores gets 0, not the rounding error of their mean divided by 1e-6.

docs/algorithm.md compares this with the reference implementation, tests/rl/reference_gigpo.py. Letters in names give
the shape: M steps, S sessions, G groups, U units (the steps or sessions that a norm is over).
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from aflow_env.config.section import Section
from aflow_env.rl.rows import Steps, group_sum

EPSILON = 1e-6
Mode = Literal["mean_norm", "mean_std_norm"]


class GigpoConfig(Section):
    """The switches of GiGPO: `algorithm.gigpo`, and verl's `algorithm.gamma`."""

    gamma: float = Field(default=0.95, ge=0.0, le=1.0)
    mode: Mode = "mean_norm"
    step_advantage_w: float = Field(default=1.0, ge=0.0)


def gigpo(steps: Steps, config: GigpoConfig) -> Tensor:
    """Return the (M,) advantages A of eq. 8."""
    episode_M = episode_advantages(steps, config.mode)
    step_M = norm(step_returns(steps, config.gamma), steps.anchor_M, config.mode)
    return episode_M + config.step_advantage_w * step_M


def episode_advantages(steps: Steps, mode: Mode) -> Tensor:
    """Return the (M,) advantages A_E of eq. 3."""
    return_S, uid_S = episode_returns(steps)
    return norm(return_S, uid_S, mode)[steps.session_M]


def episode_returns(steps: Steps) -> tuple[Tensor, Tensor]:
    """Return R of each session, (S,), and the uid it belongs to, (S,)."""
    return_S = group_sum(steps.reward_M, steps.session_M)
    uid_S = torch.zeros_like(return_S, dtype=torch.int64).index_copy_(0, steps.session_M, steps.uid_M)
    return return_S, uid_S


def step_returns(steps: Steps, gamma: float) -> Tensor:
    """Return the (M,) discounted returns G_t of eq. 6.

    After k passes each step has the discounted sum of its next 2^k rewards, so log2(longest session) passes are enough.
    Dividing prefix sums by gamma^t would need one pass, and would lose all digits in long sessions.
    """
    session_M, return_M = steps.session_M, steps.reward_M.clone()
    reach = 1
    while (same := session_M[reach:] == session_M[:-reach]).any():  # Steps of a session lie side by side, in order.
        return_M[:-reach] += gamma**reach * torch.where(same, return_M[reach:], 0.0)
        reach *= 2
    return return_M


def norm(value_U: Tensor, group_U: Tensor, mode: Mode, correction: int = 1) -> Tensor:
    """Return each unit's (U,) value against the mean of its group; a group of one gives 0."""
    size_G = group_sum(torch.ones_like(value_U), group_U)
    mean_G = group_sum(value_U, group_U) / size_G
    centred_U = value_U - mean_G[group_U]
    if mode == "mean_norm":
        return centred_U
    variance_G = group_sum(centred_U**2, group_U) / (size_G - correction).clamp(min=1)
    return centred_U / (variance_G.sqrt() + EPSILON)[group_U]
