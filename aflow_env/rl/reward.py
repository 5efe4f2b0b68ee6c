# SPDX-License-Identifier: Apache-2.0
"""The reward of each step of a session, from its score and its cost. Pure.

    best_gain    r_t = max(0, score_t - best so far)        sums to the session's best - start: the search's own goal
    parent_gain  r_t = score_t - score of the parent        credit for the edit itself, also negative
    both         - cost_weight * cost of evaluating the step - invalid_penalty for a rejected action

Scores are in [0, 1], costs in USD. A rejected action is not evaluated and gains nothing. An accepted step without a
score is a failure of the infrastructure, which is never a score, so its session must be left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aflow_env.config import RewardConfig


@dataclass(frozen=True)
class SessionStep:
    """The parts of a session's step that decide its reward."""

    score: float | None
    """Of the child, in [0, 1]; None for a rejected action."""
    parent_score: float
    valid: bool = True
    cost_usd: float = 0.0


def step_rewards(start_score: float, steps: Sequence[SessionStep], config: RewardConfig) -> list[float]:
    """Return one reward a step, in order, of a session whose start workflow has `start_score`."""
    best = checked(start_score, "the session's start")
    rewards = []
    for place, step in enumerate(steps):
        reward = -config.cost_weight * step.cost_usd
        if not step.valid:
            reward -= config.invalid_penalty
        elif step.score is None:
            raise ValueError(f"step {place} was accepted but has no score; leave its session out of the batch")
        else:
            score = checked(step.score, f"step {place}")
            parent_score = checked(step.parent_score, f"the parent of step {place}")
            reward += max(0.0, score - best) if config.kind == "best_gain" else score - parent_score
            best = max(best, score)
        rewards.append(reward)
    return rewards


def checked(score: float, name: str) -> float:
    """Return the score. Raises ValueError unless it is in [0, 1]."""
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        raise ValueError(f"the score of {name} is {score}; scores are in [0, 1]")
    return score
