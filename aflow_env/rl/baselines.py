# SPDX-License-Identifier: Apache-2.0
"""The estimators to beat, on the same rows and with the same result type as GiGPO.

Each takes the switches that still have a meaning for it from the same `GigpoConfig` (mode, gamma, penalty) and fixes
the others; group metrics stay, so that runs can be compared. Value rows get what they get under GiGPO.
"""

import torch

from aflow_env.rl.gigpo import OURS, Credit, GigpoConfig, GigpoResult, anchor_groups, compute_gigpo, finish
from aflow_env.rl.rows import GigpoRows

WHITENING_EPSILON = 1e-8


def grpo(rows: GigpoRows, config: GigpoConfig = OURS) -> GigpoResult:
    """GRPO on trajectories (arXiv 2402.03300, section 4.1.2): A = norm of R over the sessions of the uid.

    Every session counts once however many rows it has. `mode=mean_std_norm` is the paper's, `mean_norm` Dr. GRPO's.
    """
    fixed = {"step_advantage_w": 0.0, "episode_norm": "trajectories", "singleton": "zero", "leave_one_out": False}
    return compute_gigpo(rows, config.model_copy(update=fixed))


def rloo(rows: GigpoRows, config: GigpoConfig = OURS) -> GigpoResult:
    """RLOO (arXiv 2402.14740): A = R - mean R of the other sessions of the uid; 0 for the only session of one."""
    fixed = {"mode": "mean_norm", "step_advantage_w": 0.0, "episode_norm": "trajectories", "singleton": "zero"}
    return compute_gigpo(rows, config.model_copy(update={**fixed, "leave_one_out": True}))


def reinforce_plus_plus(rows: GigpoRows, config: GigpoConfig = OURS) -> GigpoResult:
    """REINFORCE++ (arXiv 2501.03262): A = (G_t - mean) / std of the step returns over the whole batch; no groups.

    Mean and deviation weigh each row by its number of trained tokens, as verl's `masked_whiten` does. The result's
    episode part is zero, its step part the whitened return.
    """
    credit = Credit.of(rows, config)
    tokens_M = rows.response_mask[credit.rows_M].sum(dim=1).double()
    total = tokens_M.sum()
    return_M = credit.return_M.double()
    mean = (tokens_M * return_M).sum() / total.clamp(min=1)
    variance = (tokens_M * (return_M - mean) ** 2).sum() / (total - 1).clamp(min=1)
    whitened_M = (return_M - mean) * torch.rsqrt(variance + WHITENING_EPSILON)
    return finish(
        rows, credit, anchor_groups(rows, credit, config), torch.zeros_like(whitened_M), whitened_M, whitened_M
    )
