# SPDX-License-Identifier: Apache-2.0
"""What a session of training plays is what the policy would do, so its rows have the policy gradient: a known bandit.

The start workflow has three edits, drawn with known probabilities. All pairs of sessions are enumerated, so the mean of
A grad log pi over rows is exact, and so is the gradient that it has to be.
"""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aflow_env.config import AflowConfig
from aflow_env.evaluation.attempt import Attempt
from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.rows import Rows, Steps
from aflow_env.search.proposals.proposal import Proposal, State
from aflow_env.search.session import SearchSession
from aflow_env.training.rollout.policy import Tokens
from aflow_env.training.rollout.rollout_rows import edit_rows
from aflow_env.workflow.program import Workflow
from tests.search.quick import PROBLEMS, START, Quick, config, play

ARMS = tuple(f'{{"operation": "add", "operator": "{name}", "position": 2}}' for name in ("Format", "Review", "Custom"))
PI = np.array([0.5, 0.3, 0.2])
Floats = NDArray[np.float64]


class Bandit(Quick):
    """The start solves two of eight problems, the three edits of it 1, 6 and 4, by the operator that they add."""

    def score_of(self, workflow: Workflow, attempt: Attempt) -> float:
        solved = next((n for name, n in (("Format", 1), ("Review", 6)) if f"operator.{name}(" in workflow.graph), 4)
        solved = 2 if workflow.digest == START.digest else solved
        return float(PROBLEMS.index(attempt.problem) < solved)


REWARD = np.array([1, 6, 4]) / 8 - 2 / 8


class Draws:
    """A policy that draws this arm; a second draw in a session of one round would be another arm's."""

    def __init__(self, arm: int) -> None:
        self.arms = [arm, (arm + 1) % 3, (arm + 2) % 3]

    async def propose(self, state: State, seed: int) -> Proposal:
        return Proposal(ARMS[self.arms.pop(0)], Tokens((1,), (2,), (-0.5,), 0))


def trains(folder: Path) -> AflowConfig:
    """A session of training, of a config in which Q would choose among the edits of 16 nodes."""
    keys = ("rl_weight=1", "q.kind=policy", "lookahead.nodes=16", "lookahead.edits=3", "redraws=3")
    return config(folder, *keys, "rounds=1", "reward.kind=parent_gain").on_policy


def session(folder: Path, arm: int) -> tuple[AflowConfig, SearchSession]:
    settings = trains(folder / str(arm))
    return settings, asyncio.run(play(settings, Bandit(), Draws(arm)))[0]


def expected(rewards: Floats, run: Floats) -> Floats:
    """The exact mean over two sessions of A grad log pi, where edits are run with probabilities `run`.

    grad is by the logits of pi; A is GiGPO's, of both levels.
    """
    total = np.zeros(3)
    for first in range(3):
        for second in range(3):
            pair = [first, second]
            rows = Rows(
                uid=["u", "u"],
                trajectory=["0", "1"],
                anchor=["start"] * 2,
                step_index=torch.zeros(2, dtype=torch.int64),
                step_reward=torch.tensor(rewards[pair]),
                is_edit=torch.ones(2, dtype=torch.bool),
                response_mask=torch.ones(2, 1),
            )
            advantages = gigpo(Steps.of(rows), GigpoConfig()).numpy()
            total += run[first] * run[second] * advantages @ (np.eye(3)[pair] - PI) / 2
    return total


GRADIENT = PI * (REWARD - PI @ REWARD)
"""Of the expected reward, by the logits. The baseline of two sessions halves it, and two levels double it."""


def test_a_session_of_training_runs_the_edit_that_was_drawn(tmp_path: Path) -> None:
    """The first draw, and no other, whatever Q is and however much it weighs; its reward is the edit's."""
    for arm in range(3):
        settings, played = session(tmp_path, arm)
        (row,) = edit_rows(played, settings)
        assert played.turns[0].reply.text == ARMS[arm]
        assert played.turns[0].choice.open == 1
        assert row.step_reward == pytest.approx(REWARD[arm])


def test_the_rows_of_training_have_the_policy_gradient(tmp_path: Path) -> None:
    """Enumerated over all pairs of sessions, to the last digits."""
    played = [session(tmp_path, arm) for arm in range(3)]
    rewards = np.array([edit_rows(found, settings)[0].step_reward for settings, found in played])
    assert expected(rewards, PI) == pytest.approx(GRADIENT)


def test_rows_of_chosen_edits_would_not_have_it() -> None:
    """Why Q does not choose in training: the same rows, were the better of two drawn edits run by a Q that is right.

    The third edit is better than the policy's mean, so its logit should rise. It falls, since Q's choices are better.
    """
    order = [1, 2, 0]
    behind = [PI[order[place:]].sum() for place in range(4)]
    chosen = np.zeros(3)
    chosen[order] = [behind[place] ** 2 - behind[place + 1] ** 2 for place in range(3)]
    assert expected(REWARD, chosen)[2] < 0 < GRADIENT[2]
    always = expected(REWARD, np.array([0.0, 1.0, 0.0]))
    assert always == pytest.approx(np.zeros(3)), "a Q that finds one edit every time leaves nothing to compare"
