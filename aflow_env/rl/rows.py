# SPDX-License-Identifier: Apache-2.0
"""A batch of training rows, and the few segment operations that every advantage estimator here is built from.

One row is one step of one session: a prompt, a response, a step reward. A row is found by (`uid`, `trajectory`,
`step_index`), never by its place in the batch: trainers balance, shuffle and pad batches. Letters in names give the
shape: N rows, T response tokens, M the rows in use, U units (whatever is averaged: rows or trajectories), G groups.

Group keys are strings and become dense integers through one dictionary a column (exact, no hashing collisions, all of
it inside C); from there on everything is sums by index, sorts and gathers; no loop over rows or groups.
"""

import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Kind = Literal["edit", "value"]


@dataclass(frozen=True)
class GigpoRows:
    """N rows of a batch; strings are group keys, tensors share one device.

    `uid` names the search problem, `trajectory` the session within it (unique within its uid is enough), `anchor` the
    state that the step started from, and `state` its text where the anchor is a digest. `valid` is false for a rejected
    action. `episode_return` overrides the sum of the session's step rewards and must then agree on all rows of a
    session. `kind` tells edit rows from value rows (all are edits when it is left out). Whatever a padding row carries
    is ignored.
    """

    uid: Sequence[str]
    trajectory: Sequence[str]
    anchor: Sequence[str]
    step_index: Tensor
    """(N,) integer; gaps are closed, only the order within a trajectory counts."""
    step_reward: Tensor
    """(N,)"""
    valid: Tensor
    """(N,) bool"""
    is_padding: Tensor
    """(N,) bool"""
    response_mask: Tensor
    """(N, T), 1 on the response tokens that are trained."""
    episode_return: Tensor | None = None
    """(N,)"""
    state: Sequence[str] | None = None
    """What `similarity` compares; None: the anchors are texts themselves."""
    kind: Sequence[Kind] | None = None
    value_baseline: Tensor | None = None
    """(N,) what a value row's reward is compared with, where that is known: its mean under whoever drew the answer."""

    def __post_init__(self) -> None:
        count = len(self.uid)
        for name in ("trajectory", "anchor", "step_index", "step_reward", "valid", "is_padding", "response_mask"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"rows.{name} has {len(getattr(self, name))} entries, rows.uid has {count}")
        for name in ("episode_return", "state", "kind", "value_baseline"):
            column = getattr(self, name)
            if column is not None and len(column) != count:
                raise ValueError(f"rows.{name} has {len(column)} entries, rows.uid has {count}")
        if self.response_mask.ndim != 2:
            raise ValueError(f"rows.response_mask must be (rows, tokens), not {tuple(self.response_mask.shape)}")
        if self.kind is not None and not set(self.kind) <= {"edit", "value"}:
            raise ValueError(f"rows.kind has {sorted(set(self.kind))}; the kinds are 'edit' and 'value'")

    def of_kind(self, kind: Kind) -> Tensor:
        """(M,) positions of the rows of one kind that are not padding; raises on a reward that is not finite."""
        use_N = ~self.is_padding.bool()
        if self.kind is not None:
            use_N &= torch.tensor(list(map(kind.__eq__, self.kind)), dtype=torch.bool, device=use_N.device)
        elif kind == "value":
            use_N = torch.zeros_like(use_N)
        rows_M = use_N.nonzero().squeeze(1)
        bad_M = ~self.step_reward[rows_M].isfinite()
        if bad_M.any():
            raise ValueError(
                f"the rewards of rows {rows_M[bad_M].tolist()[:8]} are not finite; leave their session out"
            )
        return rows_M

    def keys(self, column: Sequence[str], rows_M: Tensor) -> Tensor:
        """(M,) dense ids of a column of strings."""
        table = dict(zip(dict.fromkeys(column), itertools.count(), strict=False))
        ids_N = torch.frombuffer(array("q", map(table.__getitem__, column)) or array("q", [0]), dtype=torch.int64)
        return ids_N.to(rows_M.device)[rows_M]


def pair(first_M: Tensor, second_M: Tensor) -> Tensor:
    """(M,) dense ids of the pairs of two columns of ids."""
    width = int(second_M.max()) + 1 if second_M.numel() else 1
    pairs_M: Tensor = torch.unique(first_M * width + second_M, return_inverse=True)[1]
    return pairs_M


def group_count(group_M: Tensor) -> int:
    return int(group_M.max()) + 1 if group_M.numel() else 0


def group_sum(values_M: Tensor, group_M: Tensor) -> Tensor:
    """(G,) sum of the values of each group."""
    return torch.zeros(group_count(group_M), dtype=values_M.dtype, device=values_M.device).index_add_(
        0, group_M, values_M
    )


def group_statistics(values_U: Tensor, group_U: Tensor, correction: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """(G,) size, mean and standard deviation of each group, in the values' own precision.

    The deviation of a group of fewer than `correction + 1` is 1, so that dividing by it changes nothing. Means are
    taken with one `torch.mean` for all groups of a size: a float32 mean is then rounded just as a loop over the groups
    would round it, which parity with the reference needs. The deviation is summed in float64 about that mean.
    """
    size_G = group_sum(torch.ones_like(group_U), group_U)
    first_G = size_G.cumsum(0) - size_G
    sorted_U = values_U[torch.argsort(group_U, stable=True)]
    mean_G = torch.zeros_like(size_G, dtype=values_U.dtype)
    for size in torch.unique(size_G).tolist():
        some_G = (size_G == size).nonzero().squeeze(1)
        members = first_G[some_G, None] + torch.arange(size, device=size_G.device)
        mean_G[some_G] = sorted_U[members].mean(dim=1)
    spread_G = group_sum((values_U.double() - mean_G[group_U].double()) ** 2, group_U)
    variance_G = spread_G / (size_G - correction).clamp(min=1)
    std_G = torch.where(size_G > correction, variance_G.sqrt(), 1.0).to(values_U.dtype)
    return size_G, mean_G, std_G


def chronological(trajectory_M: Tensor, step_M: Tensor) -> Tensor:
    """(M,) permutation that puts rows in order of trajectory, then step; raises on two rows of one step."""
    by_step_M = torch.argsort(step_M, stable=True)
    order_M = by_step_M[torch.argsort(trajectory_M[by_step_M], stable=True)]
    trajectory_M, step_M = trajectory_M[order_M], step_M[order_M]
    twice = (trajectory_M[1:] == trajectory_M[:-1]) & (step_M[1:] == step_M[:-1])
    if twice.any():
        at_M = order_M[1:][twice].tolist()
        raise ValueError(
            f"{len(at_M)} rows repeat a step of their trajectory (rows in use: {at_M[:8]}); a duplicated row biases "
            "every mean it enters: mark rows that only fill a batch with is_padding"
        )
    return order_M


def discounted_returns(reward_M: Tensor, trajectory_M: Tensor, step_M: Tensor, gamma: float) -> Tensor:
    """(M,) G_t = r_t + gamma * G_{t+1} within each trajectory, whatever order the rows come in.

    Doubling: after k passes every row holds the discounted sum of its next 2^k rewards, so log2(longest trajectory)
    passes do. Unlike dividing prefix sums by gamma^t this loses no digits on long trajectories.
    """
    order_M = chronological(trajectory_M, step_M)
    trajectory_M = trajectory_M[order_M]
    return_M = reward_M[order_M].clone()
    longest = int(group_sum(torch.ones_like(trajectory_M), trajectory_M).max()) if len(order_M) else 0
    reach = 1
    while reach < longest:
        same = trajectory_M[reach:] == trajectory_M[:-reach]
        return_M[:-reach] += gamma**reach * torch.where(same, return_M[reach:], 0.0)
        reach *= 2
    return torch.empty_like(return_M).index_copy_(0, order_M, return_M)


def compute_value_advantages(rows: GigpoRows) -> Tensor:
    """(N,) advantage of the value rows, zero elsewhere: A = reward - baseline of the same question.

    A value row asks what a workflow's best child would score; it is compared with other answers to the same question
    and with nothing else: no episode part, no step part, no deviation in the denominator (the scoring rule's scale is
    already [0, 1]). The scoring rule gives the baseline exactly (`value_baseline`;
    `training/rollout/rollout_rows.py`), so a
    question that was answered once teaches, too. Without it the baseline is the mean over the (uid, anchor) group of
    value rows, and a single answer teaches nothing.
    """
    rows_M = rows.of_kind("value")
    if rows.value_baseline is not None:
        gain_M = (rows.step_reward - rows.value_baseline)[rows_M].double()
        return scatter(gain_M, rows_M, len(rows.uid))
    group_M = pair(rows.keys(rows.uid, rows_M), rows.keys(rows.anchor, rows_M))
    reward_M = rows.step_reward[rows_M].double()
    _, mean_G, _ = group_statistics(reward_M, group_M)
    return scatter(reward_M - mean_G[group_M], rows_M, len(rows.uid))


def scatter(values_M: Tensor, rows_M: Tensor, count: int) -> Tensor:
    """(N,) float32 values at their rows, zero elsewhere."""
    return torch.zeros(count, dtype=torch.float32, device=values_M.device).index_copy_(0, rows_M, values_M.float())


def token_advantages(rows: GigpoRows, edit_N: Tensor) -> Tensor:
    """(N, T) float32: each row's advantage on its response tokens; value rows get theirs here, for every estimator.

    One new (N, T) tensor and no temporary beside it. On a CPU most of the time would go into the page faults of its
    first touch; NumPy asks the kernel for huge pages where torch does not, which makes this three times as fast.
    """
    advantage_N = edit_N + compute_value_advantages(rows)
    mask_NT = rows.response_mask
    if mask_NT.device.type == "cpu":
        advantage_NT = torch.from_numpy(np.empty(mask_NT.shape, dtype=np.float32))
    else:
        advantage_NT = torch.empty_like(mask_NT, dtype=torch.float32)
    return advantage_NT.copy_(mask_NT).mul_(advantage_N[:, None])
