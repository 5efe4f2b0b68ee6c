# SPDX-License-Identifier: Apache-2.0
"""Who is compared with whom: similarity clusters of anchors, and how often a group had anybody to compare with.

GiGPO's step part lives off states that recur. Where none recurs it silently becomes GRPO, so the sizes of the groups
are metrics of the first rank, not a debugging aid.
"""

import difflib
from collections.abc import Sequence

import torch
from torch import Tensor

from aflow_env.rl.rows import group_sum

SIZE_BINS = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, None))
NO_SIGNAL = 1e-7
"""An advantage below this is no signal: equal float64 scores leave about 1e-16, or 1e-10 after division by 1e-6."""


def similarity_groups(
    exact_M: Tensor, uid_M: Tensor, texts: Sequence[str], visits: Sequence[int], threshold: float, autojunk: bool
) -> Tensor:
    """(M,) greedy first-fit clusters of the anchors of each uid.

    Rows are visited in the order `visits`; an anchor joins the first cluster whose first member it resembles with a
    difflib ratio of at least `threshold`, or founds one. Equal anchors (same id in `exact_M`) always share a cluster,
    so only distinct ones are compared: O(distinct anchors * clusters) comparisons a uid, each quadratic in length.
    With difflib's `autojunk` frequent characters of longer texts are overlooked.
    """
    exact, uids = exact_M.tolist(), uid_M.tolist()
    group_of: dict[int, int] = {}
    founders: dict[int, list[tuple[int, difflib.SequenceMatcher[str]]]] = {}
    for m in visits:
        if exact[m] in group_of:
            continue
        clusters = founders.setdefault(uids[m], [])
        found = next((group for group, founder in clusters if resembles(texts[m], founder, threshold)), None)
        if found is None:  # Its own exact id is unused by any other cluster, hence a good name.
            found = exact[m]
            clusters.append((found, difflib.SequenceMatcher(None, "", texts[m], autojunk)))
        group_of[exact[m]] = found
    return torch.tensor([group_of[group] for group in exact], dtype=torch.int64, device=exact_M.device)


def resembles(text: str, founder: "difflib.SequenceMatcher[str]", threshold: float) -> bool:
    """Whether difflib's ratio reaches the threshold; its two upper bounds are asked first because they are cheap."""
    founder.set_seq1(text)
    return all(ratio() >= threshold for ratio in (founder.real_quick_ratio, founder.quick_ratio, founder.ratio))


def group_metrics(anchor_M: Tensor, uid_M: Tensor, advantage_M: Tensor) -> dict[str, float]:
    """Sizes of the anchor groups and the shares of groups that taught nothing; empty without rows.

    `singleton_anchor_fraction` counts groups, `singleton_row_fraction` the rows in them (those without a step part).
    `anchor_group_size/rows_A_B` is the share of rows whose group has A to B members. `..._without_signal` is the share
    of groups whose rows all have an advantage of zero: what dynamic sampling would drop.
    """
    if not len(anchor_M):
        return {}
    size_all = group_sum(torch.ones_like(anchor_M), anchor_M)
    size_G = size_all[size_all > 0]  # Cluster names are not dense.
    rows_G = size_G.double() / size_G.sum()
    metrics = {
        "singleton_anchor_fraction": (size_G == 1).double().mean().item(),
        "singleton_row_fraction": rows_G[size_G == 1].sum().item(),
        "anchor_group_size/mean": size_G.double().mean().item(),
        "anchor_group_size/max": float(size_G.max()),
        "anchor_group_size/p50": size_G.double().median().item(),
        "anchor_groups": float(len(size_G)),
        "episode_groups": float(uid_M.max() + 1),
        "advantage/mean": advantage_M.mean().item(),
        "advantage/abs_mean": advantage_M.abs().mean().item(),
    }
    for low, high in SIZE_BINS:
        inside_G = (size_G >= low) & (size_G <= (high or size_G.max()))
        metrics[f"anchor_group_size/rows_{low}_{high or 'up'}"] = rows_G[inside_G].sum().item()
    signal_M = (advantage_M.abs() > NO_SIGNAL).double()
    metrics["episode_groups_without_signal"] = (group_sum(signal_M, uid_M) == 0).double().mean().item()
    metrics["anchor_groups_without_signal"] = (group_sum(signal_M, anchor_M)[size_all > 0] == 0).double().mean().item()
    return metrics
