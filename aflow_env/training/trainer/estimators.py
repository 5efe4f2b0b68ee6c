# SPDX-License-Identifier: Apache-2.0
"""Our estimators, by the names that users give `algorithm.adv_estimator`, and the bridge to verl's `register_adv_est`.

verl calls an estimator with token rewards, masks and uids only. The trainer puts the rows' own fields into a context
variable around that call. An estimator without them raises an error that names the trainer to choose.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from aflow_env.config import explain
from aflow_env.config.section import Section
from aflow_env.errors import ConfigError
from aflow_env.rl import baseline_estimators as baselines
from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.rows import Rows, Steps, group_metrics, token_advantages


class Estimator(NamedTuple):
    """A function from steps and its switches to one advantage a step, and the type of these switches."""

    compute: Callable[[Steps, Any], Tensor]
    config: type[Section]


ESTIMATORS = {
    "gigpo": Estimator(gigpo, GigpoConfig),
    "hgpo": Estimator(baselines.hgpo, baselines.HgpoConfig),
    "grpo": Estimator(baselines.grpo, baselines.GrpoConfig),
    "rloo": Estimator(baselines.rloo, baselines.RlooConfig),
    "reinforce_plus_plus": Estimator(baselines.reinforce_plus_plus, baselines.ReinforcePlusPlusConfig),
}


def verl_name(name: str) -> str:
    """Return verl's name of an estimator of ours. Three of our names are verl's own, which know no steps."""
    return name if name in ("gigpo", "hgpo") else f"aflow_{name}"


def switches(algorithm: Any, name: str) -> Section:
    """Read the switches of an estimator from `algorithm.NAME`, and its discount from `algorithm.gamma`."""
    if name not in ESTIMATORS:
        raise ConfigError(
            f"algorithm.adv_estimator={name}: there is no such estimator; choose one of {', '.join(ESTIMATORS)}"
        )
    config, own = ESTIMATORS[name].config, algorithm.get(name, None) or {}
    if isinstance(own, Mapping):
        if "gamma" in own:
            raise ConfigError(
                f"algorithm.{name}.gamma={own['gamma']}: the discount is verl's own key; set algorithm.gamma"
            )
        own = {**own, **({"gamma": algorithm.get("gamma", 1.0)} if "gamma" in config.model_fields else {})}
    try:
        return config.model_validate(own)
    except ValidationError as error:
        said = explain(error, f"algorithm.{name}")
        raise ConfigError(said.replace(f"algorithm.{name}.gamma", "algorithm.gamma")) from None


def check_switches(algorithm: Any) -> None:
    """Raise ConfigError where `algorithm.adv_estimator` or a switch of any estimator is wrong."""
    for name in dict.fromkeys([algorithm.adv_estimator, *ESTIMATORS]):
        switches(algorithm, name)


@dataclass
class OnlineRows:
    """The rows of a batch, in its order; the estimator fills `metrics`."""

    sessions: Sequence[str]
    fields: Sequence[dict[str, Any]]
    padding: Sequence[bool]
    metrics: dict[str, float] = field(default_factory=dict)


_rows: ContextVar[OnlineRows | None] = ContextVar("rows of the batch whose advantages are being computed", default=None)


@contextmanager
def rows_of_step(rows: OnlineRows) -> Iterator[None]:
    """Let the estimators see `rows`."""
    token = _rows.set(rows)
    try:
        yield
    finally:
        _rows.reset(token)


def to_rows(online: OnlineRows, token_level_rewards: Tensor, response_mask: Tensor, uid: Sequence[str]) -> Rows:
    """Build our rows. verl put the episode's return on each row's last token; its KL penalty becomes a step's reward.

    token_level_rewards, response_mask: (N, T).
    """
    step_reward_N = torch.tensor([row["step_reward"] for row in online.fields], dtype=torch.float32)
    return Rows(
        uid=list(uid),
        trajectory=list(online.sessions),
        anchor=[row["anchor"] for row in online.fields],
        step_index=torch.tensor([row["step_index"] for row in online.fields]),
        step_reward=step_reward_N + kl_penalty(online, token_level_rewards),
        is_edit=~torch.tensor(list(online.padding)),
        response_mask=response_mask,
    )


def kl_penalty(online: OnlineRows, token_level_rewards: Tensor) -> Tensor:
    """(N,) float32 that `algorithm.use_kl_in_reward` took off each row: its token rewards less the episode's return."""
    returns: dict[str, float] = dict.fromkeys(online.sessions, 0.0)
    for session, row, padding in zip(online.sessions, online.fields, online.padding, strict=True):
        returns[session] += 0.0 if padding else row["step_reward"]
    return_N = torch.tensor([returns[session] for session in online.sessions], dtype=torch.float32)
    penalty_N = token_level_rewards.sum(dim=-1).float().cpu() - return_N
    return torch.where(torch.tensor(list(online.padding)) | (penalty_N.abs() < 1e-5), 0.0, penalty_N)


def _bridge(name: str) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return an estimator of ours as verl calls one."""

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
        steps = Steps.of(rows)
        advantage_M = ESTIMATORS[name].compute(steps, switches(config, name))
        online.metrics.update({f"aflow/{key}": value for key, value in group_metrics(steps, advantage_M).items()})
        advantage_NT = token_advantages(steps.to_rows(advantage_M), response_mask)
        return advantage_NT, advantage_NT

    return estimate


def register(core_algos: ModuleType) -> None:
    """Add ours to verl's estimators."""
    for name in ESTIMATORS:
        core_algos.register_adv_est(verl_name(name))(_bridge(name))
