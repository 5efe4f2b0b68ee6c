# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious GiGPO and HGPO that the vectorised ones are checked and timed against.

Dictionaries of lists, one row at a time, Python floats; written from the equations in docs/algorithm.md.
"""

import statistics
from collections import defaultdict
from typing import Any

import torch

from aflow_env.rl.baseline_estimators import HgpoConfig
from aflow_env.rl.gigpo import GigpoConfig
from aflow_env.rl.rows import Rows

Key = tuple[Any, ...]


class Sessions:
    """The edit rows of a batch by session, in order of their steps, with the returns of both levels."""

    def __init__(self, rows: Rows, gamma: float) -> None:
        self.sessions: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.step_return: dict[int, float] = {}
        self.episode_return: dict[int, float] = {}
        self.anchor = rows.anchor
        for i, edit in enumerate(rows.is_edit.tolist()):
            if edit:
                self.sessions[rows.uid[i], rows.trajectory[i]].append(i)
        step, reward = rows.step_index.tolist(), rows.step_reward.tolist()
        for members in self.sessions.values():
            members.sort(key=lambda i: step[i])
            following = 0.0
            for i in reversed(members):
                following = self.step_return[i] = reward[i] + gamma * following
            for i in members:
                self.episode_return[i] = sum(reward[i] for i in members)

    def episode_parts(self, mode: str) -> dict[int, float]:
        """A_E of each row."""
        returns: dict[str, list[float]] = defaultdict(list)
        for (uid, _), members in self.sessions.items():
            returns[uid].append(self.episode_return[members[0]])
        return {
            i: norm(self.episode_return[i], returns[uid], mode)
            for (uid, _), members in self.sessions.items()
            for i in members
        }

    def step_parts(self, mode: str) -> dict[int, float]:
        """A_S of each row."""
        groups: dict[Key, list[int]] = defaultdict(list)
        for (uid, _), members in self.sessions.items():
            for i in members:
                groups[uid, self.anchor[i]].append(i)
        return {
            i: norm(self.step_return[i], [self.step_return[j] for j in group], mode)
            for group in groups.values()
            for i in group
        }


def norm(value: float, units: list[float], mode: str) -> float:
    """x - mean, or that over the deviation; 0 for a group of one."""
    if len(units) == 1:
        return 0.0
    centred = value - statistics.fmean(units)
    return centred if mode == "mean_norm" else centred / (statistics.stdev(units) + 1e-6)


def loop_gigpo(rows: Rows, config: GigpoConfig) -> torch.Tensor:
    """(N,) advantages, zero on rows that are no edits."""
    sessions = Sessions(rows, config.gamma)
    episode, step = sessions.episode_parts(config.mode), sessions.step_parts(config.mode)
    return per_row(rows, {i: episode[i] + config.step_advantage_w * step[i] for i in episode})


def loop_hgpo(rows: Rows, config: HgpoConfig) -> torch.Tensor:
    """(N,) advantages, zero on rows that are no edits."""
    sessions = Sessions(rows, config.gamma)
    groups: dict[Key, list[int]] = defaultdict(list)
    for (uid, _), members in sessions.sessions.items():
        for place, i in enumerate(members):
            for k in range(1, min(config.history_length, place) + 2):
                groups[(uid, *(rows.anchor[j] for j in members[place - k + 1 : place + 1]))].append(i)
    levels: dict[int, list[tuple[int, float]]] = {i: [] for i in sessions.step_return}
    if config.base_group:
        for i, advantage in sessions.episode_parts(config.mode).items():
            levels[i].append((0, advantage))
    for name, members in groups.items():
        returns = [sessions.step_return[i] for i in members]
        for i in members if len(members) > 1 else []:
            centred = sessions.step_return[i] - statistics.fmean(returns)
            scale = 1.0 if config.mode == "mean_norm" else statistics.pstdev(returns) + 1e-6
            levels[i].append((len(name) - 1, centred / scale))
    advantages = {}
    for i, found in levels.items():
        in_use = [((k + 1.0) ** config.level_alpha, value) for k, value in found if abs(value) > 1e-7]
        advantages[i] = sum(w * value for w, value in in_use) / (sum(w for w, _ in in_use) + 1e-6)
    return per_row(rows, advantages)


def per_row(rows: Rows, values: dict[int, float]) -> torch.Tensor:
    """(N,) float32"""
    return torch.tensor([values.get(i, 0.0) for i in range(len(rows.uid))], dtype=torch.float32)
