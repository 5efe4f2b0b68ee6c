# SPDX-License-Identifier: Apache-2.0
"""The rows of a training batch, their steps as columns of integers, and sums over groups for estimators.

One row is one step of one session: a prompt, a response, a step reward. Its key is (uid, trajectory, step index), never
its place in the batch, because trainers balance, shuffle and pad batches. Letters in names give the shape: N rows, T
response tokens, M steps (the edit rows, in order of session and step), S sessions, G groups. A dictionary a column
turns the string keys into dense integers, and no Python code loops over rows or groups.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NO_SIGNAL = 1e-7
"""An advantage below this is no signal: equal float64 scores leave about 1e-16, or 1e-10 after division by 1e-6."""
SIZE_BINS = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, None))


@dataclass(frozen=True)
class Rows:
    """The N rows of a trainer's batch. Tensors are on one device."""

    uid: Sequence[str]
    """The search problem."""
    trajectory: Sequence[str]
    """The session, unique within its uid."""
    anchor: Sequence[str]
    """The state that the step started from, as the digest of the expanded workflow."""
    step_index: Tensor
    """(N,) integers. Only the order within a session counts."""
    step_reward: Tensor
    """(N,)"""
    is_edit: Tensor
    """(N,) bool. False on padding rows, which are in no group and no mean."""
    response_mask: Tensor
    """(N, T), 1 on the response tokens that are trained."""

    def __post_init__(self) -> None:
        count = len(self.uid)
        for name in ("trajectory", "anchor", "step_index", "step_reward", "is_edit", "response_mask"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"rows.{name} has {len(getattr(self, name))} entries, rows.uid has {count}")
        if self.response_mask.ndim != 2:
            raise ValueError(f"rows.response_mask must be (rows, tokens), not {tuple(self.response_mask.shape)}")


@dataclass(frozen=True)
class Steps:
    """The M edit rows of a batch, sorted by session and then by step. Ids are dense integers."""

    rows: Rows
    place_M: Tensor
    """The place of each step's row in the batch."""
    uid_M: Tensor
    session_M: Tensor
    """Ascending. A session is a (uid, trajectory)."""
    anchor_M: Tensor
    """An id of (uid, anchor), so steps of two search problems are never compared."""
    reward_M: Tensor
    """float64"""

    @classmethod
    def of(cls, rows: Rows) -> "Steps":
        """Read the edit rows. Raises ValueError for a reward that is not finite and for two rows of one step."""
        place_M = rows.is_edit.bool().nonzero().squeeze(1)
        reward_M, index_M = rows.step_reward[place_M].double(), rows.step_index[place_M]
        if len(bad_M := place_M[~reward_M.isfinite()]):
            raise ValueError(f"the rewards of rows {bad_M.tolist()[:8]} are not finite; leave their session out")
        columns = (rows.uid, rows.trajectory, rows.anchor)
        edit = rows.is_edit.bool().tolist()
        uid_M, trajectory_M, anchor_M = (string_ids(itertools.compress(each, edit)).to(place_M) for each in columns)
        session_M = pair_ids(uid_M, trajectory_M)
        by_index_M = torch.argsort(index_M, stable=True)
        order_M = by_index_M[torch.argsort(session_M[by_index_M], stable=True)]
        session_M, index_M, place_M = session_M[order_M], index_M[order_M], place_M[order_M]
        twice = (session_M[1:] == session_M[:-1]) & (index_M[1:] == index_M[:-1])
        if twice.any():
            raise ValueError(
                f"{int(twice.sum())} rows repeat a step of their session (rows {place_M[1:][twice].tolist()[:8]}); a "
                "repeated row biases every mean that it enters: clear is_edit on rows that only fill a batch"
            )
        return cls(rows, place_M, uid_M[order_M], session_M, pair_ids(uid_M, anchor_M)[order_M], reward_M[order_M])

    @property
    def tokens_M(self) -> Tensor:
        """The trained tokens of each step, (M,) float64."""
        return self.rows.response_mask.sum(dim=1).double()[self.place_M]

    def to_rows(self, value_M: Tensor) -> Tensor:
        """Return the steps' values at their rows, zero elsewhere, (N,) float32."""
        empty_N = torch.zeros(len(self.rows.uid), dtype=torch.float32, device=value_M.device)
        return empty_N.index_copy_(0, self.place_M, value_M.float())


def string_ids(column: Iterable[str]) -> Tensor:
    """Return the (M,) dense ids of the distinct strings."""
    strings = list(column)
    ids = dict(zip(dict.fromkeys(strings), itertools.count(), strict=False))
    return torch.from_numpy(np.fromiter(map(ids.__getitem__, strings), dtype=np.int64, count=len(strings)))


def pair_ids(first_M: Tensor, second_M: Tensor) -> Tensor:
    """Return the (M,) dense ids of the distinct pairs, ascending in the first."""
    width = int(second_M.max()) + 1 if len(second_M) else 1
    ids_M: Tensor = torch.unique(first_M * width + second_M, return_inverse=True)[1]
    return ids_M


def group_sum(value_M: Tensor, group_M: Tensor) -> Tensor:
    """Return the (G,) sum of the values of each group."""
    groups = int(group_M.max()) + 1 if len(group_M) else 0
    return torch.zeros(groups, dtype=value_M.dtype, device=value_M.device).index_add_(0, group_M, value_M)


def group_metrics(steps: Steps, advantage_M: Tensor) -> dict[str, float]:
    """Return the sizes of the anchor groups and the shares of groups without signal. Empty without steps.

    GiGPO's step part needs states that recur. Without any, GiGPO is GRPO.
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


def token_advantages(advantage_N: Tensor, mask_NT: Tensor) -> Tensor:
    """Return each row's advantage on all tokens of its response, (N, T) float32, without a temporary of that size.

    On a CPU page faults take most of the time. NumPy asks the kernel for huge pages, which is three times as fast.
    """
    if mask_NT.device.type == "cpu":
        advantage_NT = torch.from_numpy(np.empty(mask_NT.shape, dtype=np.float32))
    else:
        advantage_NT = torch.empty_like(mask_NT, dtype=torch.float32)
    return advantage_NT.copy_(mask_NT).mul_(advantage_N[:, None])
