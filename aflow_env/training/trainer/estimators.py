# SPDX-License-Identifier: Apache-2.0
"""Our estimators behind verl's `register_adv_est`.

verl calls an estimator with token rewards, masks and uids only. The rows' own fields wait in a context variable that
the trainer sets around that call; an estimator that finds none says which trainer to choose, instead of quietly being
GRPO.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from aflow_env.config import explain
from aflow_env.errors import ConfigError
from aflow_env.rl.baselines import grpo, reinforce_plus_plus, rloo
from aflow_env.rl.gigpo import GigpoConfig, GigpoResult, compute_gigpo
from aflow_env.rl.hgpo import HgpoConfig, compute_hgpo
from aflow_env.rl.rows import GigpoRows

Estimator = Callable[..., tuple[Tensor, Tensor]]


@dataclass
class OnlineRows:
    """The rows of the batch at hand, in the batch's order; `metrics` is filled by the estimator."""

    sessions: Sequence[str]
    fields: Sequence[dict[str, Any]]
    padding: Sequence[bool]
    metrics: dict[str, float] = field(default_factory=dict)


_rows: ContextVar[OnlineRows | None] = ContextVar("rows of the batch whose advantages are being computed", default=None)


@contextmanager
def rows_of_step(rows: OnlineRows) -> Iterator[None]:
    """Make `rows` what the estimators see."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def to_rows(online: OnlineRows, token_level_rewards: Tensor, response_mask: Tensor, uid: Sequence[str]) -> GigpoRows:
    """GiGPO's rows. verl put the episode's return on each row's last token; its KL penalty becomes a step's reward.

    token_level_rewards, response_mask: (N, T).
    """
    step_reward_N = torch.tensor([row["step_reward"] for row in online.fields], dtype=torch.float32)
    return GigpoRows(
        uid=list(uid),
        trajectory=list(online.sessions),
        anchor=[row["anchor"] for row in online.fields],
        step_index=torch.tensor([row["step_index"] for row in online.fields]),
        step_reward=step_reward_N + kl_penalty(online, token_level_rewards),
        valid=torch.tensor([bool(row["valid"]) for row in online.fields]),
        is_padding=torch.tensor(list(online.padding)),
        response_mask=response_mask,
        state=[row["state"] for row in online.fields],
        kind=[row["kind"] for row in online.fields],
        value_baseline=torch.zeros(len(online.fields)),  # a value row's reward is its advantage
    )


def kl_penalty(online: OnlineRows, token_level_rewards: Tensor) -> Tensor:
    """(N,) what `algorithm.use_kl_in_reward` took off each row: its token rewards less the episode's return."""
    totals: dict[str, float] = {}
    for session, row, padding in zip(online.sessions, online.fields, online.padding, strict=True):
        if row["kind"] == "edit" and not padding:
            totals[session] = totals.get(session, 0.0) + row["step_reward"]
    return_N = torch.tensor([totals.get(session, 0.0) for session in online.sessions], dtype=torch.float32)
    penalty_N = token_level_rewards.sum(dim=-1).float().cpu() - return_N
    return torch.where(torch.tensor(list(online.padding)) | (penalty_N.abs() < 1e-5), 0.0, penalty_N)


def switches(algorithm: Any, name: str) -> HgpoConfig:
    """What `algorithm.gigpo` says, which all five estimators read, `algorithm.hgpo` on top, and verl's own gamma.

    Raises ConfigError for a key or a value that no estimator knows.
    """
    if name not in ESTIMATORS:
        raise ConfigError(
            f"algorithm.adv_estimator={name}: there is no such estimator; choose one of {', '.join(ESTIMATORS)}"
        )
    gigpo, hgpo = (dict(algorithm.get(node, None) or {}) for node in ("gigpo", "hgpo"))
    for node, keys in (("gigpo", gigpo), ("hgpo", hgpo)):
        if "gamma" in keys:
            raise ConfigError(
                f"algorithm.{node}.gamma={keys['gamma']}: the discount is verl's own key; set algorithm.gamma"
            )
    gamma = {"gamma": algorithm.get("gamma", 1.0)}
    _checked(GigpoConfig, gamma, "algorithm")
    _checked(GigpoConfig, gigpo, "algorithm.gigpo")
    _checked(HgpoConfig, hgpo, "algorithm.hgpo")
    return HgpoConfig(**gamma | gigpo | hgpo)


def _checked(config: type[GigpoConfig], keys: dict[str, Any], where: str) -> None:
    try:
        config(**keys)
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from None


def _estimator(name: str, compute: Callable[[GigpoRows, HgpoConfig], GigpoResult]) -> Estimator:
    def estimate(
        token_level_rewards: Tensor, response_mask: Tensor, index: np.ndarray[Any, Any], config: Any = None, **_: Any
    ) -> tuple[Tensor, Tensor]:
        online = _rows.get()
        if online is None:
            raise RuntimeError(
                f"algorithm.adv_estimator={name} needs each row's anchor and step reward, which only aflow_env's "
                "trainer fetches: set trainer.v1.trainer_mode=aflow_sync"
            )
        rows = to_rows(online, token_level_rewards, response_mask, index.tolist())
        result = compute(rows, switches(config, name))
        online.metrics.update({f"aflow/{key}": value for key, value in result.metrics.items()})
        return result.advantages, result.advantages

    return estimate


ESTIMATORS: dict[str, Callable[[GigpoRows, HgpoConfig], GigpoResult]] = {
    "gigpo": compute_gigpo,
    "hgpo": compute_hgpo,
    "grpo": grpo,
    "rloo": rloo,
    "reinforce_plus_plus": reinforce_plus_plus,
}
"""By the names that users give `algorithm.adv_estimator`."""


def verl_name(name: str) -> str:
    """What verl calls an estimator of ours: verl has its own of three of these names, which would mix value rows in."""
    return name if name in ("gigpo", "hgpo") else f"aflow_{name}"


def register(core_algos: ModuleType) -> None:
    """Add ours to verl's estimators."""
    for name, compute in ESTIMATORS.items():
        core_algos.register_adv_est(verl_name(name))(_estimator(name, compute))
