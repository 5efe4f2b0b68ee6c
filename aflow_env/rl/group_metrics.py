# SPDX-License-Identifier: Apache-2.0
"""The sizes of a batch's groups, and the share of groups without signal.

GiGPO's step part needs states that recur. Without any, GiGPO is GRPO.
"""

import torch
from torch import Tensor

from aflow_env.rl.rows import NO_SIGNAL, Steps, group_sum

SIZE_BINS = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, None))


def group_metrics(steps: Steps, advantage_M: Tensor) -> dict[str, float]:
    """Return the sizes of the anchor groups and the shares of groups without signal. Empty without steps.

    `singleton_anchor_fraction` counts groups, `singleton_row_fraction` the rows in them, which have no step part.
    `anchor_group_size/rows_A_B` is the share of rows whose group has A to B members. `..._without_signal` is the share
    of groups whose rows all have an advantage of zero. Dynamic sampling would drop them.
    """
    if not len(advantage_M):
        return {}
    size_G = group_sum(torch.ones_like(advantage_M), steps.anchor_M)
    rows_G = size_G / size_G.sum()
    signal_M = (advantage_M.abs() > NO_SIGNAL).double()
    metrics: dict[str, Tensor | float] = {
        "singleton_anchor_fraction": (size_G == 1).double().mean(),
        "singleton_row_fraction": rows_G[size_G == 1].sum(),
        "anchor_group_size/mean": size_G.mean(),
        "anchor_group_size/max": size_G.max(),
        "anchor_group_size/p50": size_G.median(),
        "anchor_groups": len(size_G),
        "anchor_groups_without_signal": (group_sum(signal_M, steps.anchor_M) == 0).double().mean(),
        "episode_groups": steps.uid_M.max() + 1,
        "episode_groups_without_signal": (group_sum(signal_M, steps.uid_M) == 0).double().mean(),
        "advantage/mean": advantage_M.mean(),
        "advantage/abs_mean": advantage_M.abs().mean(),
    }
    for low, high in SIZE_BINS:
        inside_G = (size_G >= low) & (size_G <= (high or size_G.max()))
        metrics[f"anchor_group_size/rows_{low}_{high or 'up'}"] = rows_G[inside_G].sum()
    return {name: float(value) for name, value in metrics.items()}
