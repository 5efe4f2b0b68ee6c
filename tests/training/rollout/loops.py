# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious implementation of GiGPO and HGPO that the vectorised ones are checked and timed against.

Dictionaries of lists, one row at a time, Python floats; written from the equations in docs/algorithm.md.
"""

import difflib
import statistics
from collections import defaultdict
from typing import Any

import torch

from aflow_env.rl.gigpo import GigpoConfig, GigpoRows
from aflow_env.rl.hgpo import HgpoConfig

Key = tuple[Any, ...]


class Rows:
    """The edit rows of a batch as Python lists, keyed by (uid, trajectory), with returns and episode scores."""

    def __init__(self, rows: GigpoRows, config: GigpoConfig) -> None:
        self.uid, self.anchor, self.step = rows.uid, rows.anchor, rows.step_index.tolist()
        self.session: list[Key] = list(zip(rows.uid, rows.trajectory, strict=True))
        padding = rows.is_padding.tolist()
        kinds = rows.kind or ["edit"] * len(padding)
        self.used = [i for i, kind in enumerate(kinds) if kind == "edit" and not padding[i]]
        reward, valid = rows.step_reward.tolist(), rows.valid.tolist()
        charge = [0.0 if ok else config.invalid_penalty for ok in valid]
        self.sessions: dict[Key, list[int]] = defaultdict(list)
        for i in self.used:
            self.sessions[self.session[i]].append(i)
        self.returns: dict[int, float] = {}
        self.score: dict[int, float] = {}
        before = config.invalid_penalty_at == "before"
        for members in self.sessions.values():
            members.sort(key=lambda i: self.step[i])
            following = 0.0
            for i in reversed(members):
                following = reward[i] - (charge[i] if before else 0.0) + config.gamma * following
                self.returns[i] = following - (0.0 if before else charge[i])
            if rows.episode_return is None:
                total = sum(reward[i] for i in members)
            else:
                total = rows.episode_return[members[0]].item()
            total -= sum(charge[i] for i in members) if before else 0.0
            for i in members:
                self.score[i] = total - (0.0 if before else charge[i])


def norm(value: float, units: list[float], config: GigpoConfig, singleton: str) -> float:
    if len(units) == 1:
        if singleton == "zero":
            return 0.0
        return value if config.mode == "mean_norm" else value / (1.0 + 1e-6)
    result = value - statistics.fmean(units)
    if config.leave_one_out:
        result *= len(units) / (len(units) - 1)
    return result if config.mode == "mean_norm" else result / (statistics.stdev(units) + 1e-6)


def cluster_of(rows: Rows, config: GigpoConfig) -> dict[int, Key]:
    """Row -> name of its step group."""
    if config.anchor != "similarity":
        return {i: (rows.uid[i], rows.anchor[i]) for i in rows.used}
    order = rows.used
    if config.similarity_order == "sorted":
        order = sorted(order, key=lambda i: (rows.step[i], rows.anchor[i]))
    founders: dict[str, list[str]] = defaultdict(list)
    names: dict[int, Key] = {}
    for i in order:
        for founder in founders[rows.uid[i]]:
            if difflib.SequenceMatcher(None, rows.anchor[i], founder).ratio() >= config.similarity_thresh:
                names[i] = (rows.uid[i], founder)
                break
        else:
            founders[rows.uid[i]].append(rows.anchor[i])
            names[i] = (rows.uid[i], rows.anchor[i])
    return names


def episode_parts(rows: Rows, config: GigpoConfig) -> dict[int, float]:
    units: dict[str, list[float]] = defaultdict(list)
    for members in rows.sessions.values():
        scores = [rows.score[i] for i in members]
        units[rows.uid[members[0]]] += scores if config.episode_norm == "rows" else [statistics.fmean(scores)]
    return {i: norm(rows.score[i], units[rows.uid[i]], config, config.singleton) for i in rows.used}


def loop_gigpo(batch: GigpoRows, config: GigpoConfig) -> torch.Tensor:
    """(N, T) advantages of the edit rows."""
    rows = Rows(batch, config)
    episode = episode_parts(rows, config)
    names = cluster_of(rows, config)
    groups: dict[Key, list[float]] = defaultdict(list)
    for i in rows.used:
        groups[names[i]].append(rows.returns[i])
    advantages = torch.zeros(batch.response_mask.shape)
    for i in rows.used:
        step = norm(rows.returns[i], groups[names[i]], config, "zero")
        advantages[i] = (episode[i] + config.step_advantage_w * step) * batch.response_mask[i]
    return advantages


def loop_hgpo(batch: GigpoRows, config: HgpoConfig) -> torch.Tensor:
    """(N, T) advantages of the edit rows."""
    rows = Rows(batch, config)
    names = cluster_of(rows, config)
    episode = episode_parts(rows, config)
    groups: dict[Key, list[int]] = defaultdict(list)
    for members in rows.sessions.values():
        for place in range(len(members)):
            for k in range(1, min(config.history_length + 1, place + 1) + 1):
                groups[(rows.uid[members[0]], *(names[i] for i in members[place - k + 1 : place + 1]))].append(
                    members[place]
                )
    levels: dict[int, list[tuple[int, float]]] = defaultdict(list)
    if config.base_group:
        for i in rows.used:
            levels[i].append((0, episode[i]))
    for name, members in groups.items():
        returns = [rows.returns[i] for i in members]
        for i in members if len(members) > 1 else []:
            value = rows.returns[i] - statistics.fmean(returns)
            scale = 1.0 if config.mode == "mean_norm" else statistics.pstdev(returns) + 1e-6
            levels[i].append((len(name) - 1, value / scale))
    advantages = torch.zeros(batch.response_mask.shape)
    for i, items in levels.items():
        items = [(k, value) for k, value in items if abs(value) > 1e-7]
        weights = [(k + 1.0) ** config.level_alpha for k, _ in items]
        total = sum(w * value for w, (_, value) in zip(weights, items, strict=True)) / (sum(weights) + 1e-6)
        advantages[i] = total * batch.response_mask[i]
    return advantages
