# SPDX-License-Identifier: Apache-2.0
"""GiGPO, group-in-group policy optimisation (arXiv 2505.10978), as pure functions over tensors.

Contract. Rows in, advantages out; nothing else is read or written.

    R     = sum of the session's step rewards                           episode return
    A_E   = norm of R over the sessions of the uid                      paper, eq. 3: was the whole search good?
    G_t   = r_t + gamma * G_{t+1}                                       step return
    A_S   = norm of G_t over the rows of the uid with the same anchor   eq. 6, 7: was this step good from here?
    A     = A_E + step_advantage_w * A_S                                eq. 8, on every token of the response

with norm(x) = x - mean (`mean_norm`) or (x - mean) / (std + 1e-6) (`mean_std_norm`, std with n - 1). Then:

- the order of rows in the batch is irrelevant: steps are sorted by `step_index` within their trajectory;
- padding rows and value rows enter no mean and no group; a repeated (trajectory, step) raises;
- `REFERENCE` gives verl-agent's numbers, `OURS` is what this package trains with; docs/algorithm.md derives and
  justifies each difference.

Limits. Rewards are per row, so all tokens of a response share one advantage. `similarity` is quadratic in the number
of distinct anchors of a uid and meant for small groups; digests of normalised workflows make it unnecessary here.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from aflow_env.rl.anchors import group_metrics, similarity_groups
from aflow_env.rl.rows import (
    GigpoRows,
    compute_value_advantages,
    discounted_returns,
    group_statistics,
    group_sum,
    pair,
    scatter,
    token_advantages,
)

__all__ = ["OURS", "REFERENCE", "GigpoConfig", "GigpoResult", "GigpoRows", "compute_gigpo", "compute_value_advantages"]

EPSILON = 1e-6
Singleton = Literal["zero", "raw"]


class GigpoConfig(BaseModel):
    """The switches of GiGPO; the defaults are the preset `OURS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["mean_norm", "mean_std_norm"] = "mean_norm"
    gamma: float = Field(default=0.95, ge=0.0, le=1.0)
    step_advantage_w: float = Field(default=1.0, ge=0.0)
    episode_norm: Literal["rows", "trajectories"] = "trajectories"
    """Whether a uid's mean counts every row (long sessions weigh more) or every session once."""
    singleton: Singleton = "zero"
    """A_E of a uid with a single unit: nothing to compare with, hence 0; or the raw return, as the reference."""
    leave_one_out: bool = False
    """Compare with the mean of the others: the factor n / (n - 1) on both levels."""
    anchor: Literal["exact", "digest", "similarity"] = "digest"
    """`exact` and `digest` compare anchors for equality (texts, or their digests); `similarity` compares texts."""
    similarity_thresh: float = Field(default=0.95, gt=0.0, lt=1.0)
    similarity_autojunk: bool = False
    """difflib's shortcut for texts of 200 characters or more, as the reference: it finds alike ones less alike."""
    similarity_order: Literal["rows", "sorted"] = "sorted"
    """Greedy clusters depend on who comes first: batch order, as the reference, or (step index, text)."""
    invalid_penalty: float = Field(default=0.0, ge=0.0)
    """Taken off a rejected action; 0 because `rl/reward.py` has already charged it. Charge it in one place only."""
    invalid_penalty_at: Literal["before", "after"] = "before"
    """`before` discounting it is a reward like any other; `after` it touches its own row alone, as the reference."""
    arithmetic: Literal["float64", "float32"] = "float64"
    """float32 rounds as the reference does: in a group of equal scores the rounding of their mean, over a deviation of
    1e-8 + 1e-6, becomes an advantage of about 0.01. In float64 such a group gets 0."""


OURS = GigpoConfig()
REFERENCE = GigpoConfig(
    gamma=1.0,
    episode_norm="rows",
    singleton="raw",
    anchor="exact",
    similarity_autojunk=True,
    similarity_order="rows",
    invalid_penalty=0.1,
    invalid_penalty_at="after",
    arithmetic="float32",
)


@dataclass(frozen=True)
class GigpoResult:
    """What an estimator returns; zero on padding rows, and (N,) parts are zero on value rows too."""

    advantages: Tensor
    """(N, T) float32"""
    advantages_episode: Tensor
    """(N,) float32"""
    advantages_step: Tensor
    """(N,) float32, before weighting"""
    step_returns: Tensor
    """(N,) float32"""
    metrics: dict[str, float]


@dataclass(frozen=True)
class Credit:
    """The edit rows of a batch with ids for keys and penalised returns: where every estimator starts."""

    rows_M: Tensor
    uid_M: Tensor
    trajectory_M: Tensor
    step_M: Tensor
    score_M: Tensor
    """the episode's return, as this row sees it"""
    return_M: Tensor

    @classmethod
    def of(cls, rows: GigpoRows, config: GigpoConfig) -> "Credit":
        rows_M = rows.of_kind("edit")
        uid_M = pair(keys_M := rows.keys(rows.uid, rows_M), torch.zeros_like(keys_M))
        trajectory_M = pair(uid_M, rows.keys(rows.trajectory, rows_M))
        step_M = rows.step_index[rows_M]
        reward_M = rows.step_reward[rows_M].double()
        charge_M = config.invalid_penalty * (~rows.valid[rows_M].bool()).double()
        before_M = charge_M if config.invalid_penalty_at == "before" else torch.zeros_like(charge_M)
        after_M = charge_M - before_M
        return_M = discounted_returns(reward_M - before_M, trajectory_M, step_M, config.gamma) - after_M
        if rows.episode_return is None:
            total_M = group_sum(reward_M, trajectory_M)[trajectory_M]
        else:
            total_M = rows.episode_return[rows_M].double()
            _, mean_R, _ = group_statistics(total_M, trajectory_M)
            if not torch.allclose(total_M, mean_R[trajectory_M], atol=1e-5):
                raise ValueError("rows.episode_return differs between rows of one trajectory")
        score_M = total_M - group_sum(before_M, trajectory_M)[trajectory_M] - after_M
        dtype = torch.float32 if config.arithmetic == "float32" else torch.float64
        return cls(rows_M, uid_M, trajectory_M, step_M, score_M.to(dtype), return_M.to(dtype))


def compute_gigpo(rows: GigpoRows, config: GigpoConfig = OURS) -> GigpoResult:
    """Advantages of a batch by GiGPO; value rows get `compute_value_advantages`. Raises ValueError on bad rows."""
    credit = Credit.of(rows, config)
    anchor_M = anchor_groups(rows, credit, config)
    episode_M = episode_advantages(credit, config)
    step_M = normalise(credit.return_M, anchor_M, credit.return_M, anchor_M, config, singleton="zero")
    return finish(rows, credit, anchor_M, episode_M, step_M, episode_M + config.step_advantage_w * step_M)


def finish(
    rows: GigpoRows, credit: Credit, anchor_M: Tensor, episode_M: Tensor, step_M: Tensor, total_M: Tensor
) -> GigpoResult:
    """The parts of an estimator, back at their rows, with the metrics of the batch's groups."""
    parts_M = (episode_M, step_M, credit.return_M, total_M)
    episode_N, step_N, return_N, total_N = (scatter(part_M, credit.rows_M, len(rows.uid)) for part_M in parts_M)
    metrics = group_metrics(anchor_M, credit.uid_M, total_M)
    return GigpoResult(token_advantages(rows, total_N), episode_N, step_N, return_N, metrics)


def episode_advantages(credit: Credit, config: GigpoConfig) -> Tensor:
    """(M,) A_E: each row's score against the rows, or the trajectories, of its uid."""
    if config.episode_norm == "rows":
        unit_U, group_U = credit.score_M, credit.uid_M
    else:  # A trajectory's score is the mean of its rows' scores, which differ only by penalties charged `after`.
        _, unit_U, _ = group_statistics(credit.score_M, credit.trajectory_M)
        group_U = torch.empty_like(unit_U, dtype=torch.int64).index_copy_(0, credit.trajectory_M, credit.uid_M)
    return normalise(credit.score_M, credit.uid_M, unit_U, group_U, config, config.singleton)


def normalise(
    score_M: Tensor, group_M: Tensor, unit_U: Tensor, group_U: Tensor, config: GigpoConfig, singleton: Singleton
) -> Tensor:
    """(M,) each score against the units of its group; a group with one unit gives 0, or the raw score."""
    size_G, mean_G, std_G = group_statistics(unit_U, group_U)
    alone_G = size_G == 1
    advantage_M = score_M - torch.where(alone_G & (singleton == "raw"), 0.0, mean_G)[group_M]
    if singleton == "zero":  # Not left to the subtraction: a row's score may differ from its only trajectory's.
        advantage_M = torch.where(alone_G[group_M], 0.0, advantage_M)
    if config.leave_one_out:
        advantage_M = advantage_M * (size_G.to(score_M.dtype) / (size_G - 1).clamp(min=1))[group_M]
    return advantage_M / (std_G + EPSILON)[group_M] if config.mode == "mean_std_norm" else advantage_M


def anchor_groups(rows: GigpoRows, credit: Credit, config: GigpoConfig) -> Tensor:
    """(M,) id of each row's step group: the rows of its uid that started from the same (or a similar) anchor."""
    exact_M = pair(credit.uid_M, rows.keys(rows.anchor, credit.rows_M))
    if config.anchor != "similarity":
        return exact_M
    states = rows.anchor if rows.state is None else rows.state
    texts = [states[row] for row in credit.rows_M.tolist()]
    visits = list(range(len(texts)))
    if config.similarity_order == "sorted":
        steps = credit.step_M.tolist()
        visits.sort(key=lambda m: (steps[m], texts[m]))
    return similarity_groups(exact_M, credit.uid_M, texts, visits, config.similarity_thresh, config.similarity_autojunk)
