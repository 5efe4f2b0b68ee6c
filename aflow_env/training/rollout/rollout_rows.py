# SPDX-License-Identifier: Apache-2.0
"""Turn a played session into training rows.

Each round is one edit row, with its step reward by `rl/reward.py`. Each evaluated edit is one value row, too: the value
question about it, answered by a digit drawn around its score (prediction/q.py). The step reward of a value row is its
weight in the update: n / (the start workflow's n). Both kinds carry (kind, anchor, step index, step reward) through
verl's TransferQueue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError
from aflow_env.rl import reward
from aflow_env.search.prediction.predict import ActionValue, Candidate
from aflow_env.search.prediction.q import realised_digit
from aflow_env.search.session import OVER_BUDGET, SearchSession, Turn, session_seed
from aflow_env.store.node_rows import Node
from aflow_env.training.rollout.policy import DigitTokens, RolloutPolicy, Tokens


@dataclass(frozen=True)
class TrainingRow:
    """One row of the batch: tokens to train on, and the fields that its advantage is computed from."""

    kind: str
    anchor: str
    step_index: int
    step_reward: float
    tokens: Tokens


def check_played(session: SearchSession, config: AflowConfig) -> None:
    """Raise BudgetExhausted or ConfigError for a search that ended before its first round."""
    if session.tree.played:
        return
    if not session.stopped.startswith(OVER_BUDGET):
        raise ConfigError(
            f"the search ended before its first round, so there is nothing to train on ({session.stopped}): set that "
            "key of aflow.stop to null, or so that the start workflow alone does not reach it"
        )
    ceilings = [f"aflow.budget.{key}={value}" for key, value in config.budget.model_dump(exclude_none=True).items()]
    raise BudgetExhausted(
        f"{', '.join(ceilings)}: too little is left for a first round, so there is nothing to train on. "
        f"{session.stopped.removeprefix(OVER_BUDGET)} Start the run again with more: it goes on from its last "
        "checkpoint"
    )


def edit_rows(session: SearchSession, config: AflowConfig) -> list[TrainingRow]:
    """Return one row a round, in order."""
    rewards = reward.step_rewards(session.tree.node(1).score, list(map(_step, session.turns)), config.reward)
    return [
        TrainingRow("edit", turn.state.workflow.digest, index, worth, _tokens(turn))
        for index, (turn, worth) in enumerate(zip(session.turns, rewards, strict=True))
    ]


@dataclass(frozen=True)
class Judged:
    """An evaluated edit: the turn, its child, and the policy's prediction."""

    turn: Turn
    node: Node
    value: ActionValue


async def judge(session: SearchSession, policy: RolloutPolicy) -> list[Judged]:
    """Ask the policy about every edit of the session that was evaluated, in one request."""
    played = [(turn, node) for turn in session.turns if (node := turn.node)]
    asked = [(turn.state, Candidate(turn.reply.text, node.workflow)) for turn, node in played]
    values = await policy.values(asked)
    return [Judged(turn, node, value) for (turn, node), value in zip(played, values, strict=True)]


def value_rows(judged: Sequence[Judged], session: SearchSession, seed: int) -> list[TrainingRow]:
    """Return one row for each evaluated edit: the digit of its score, and its weight."""
    usual, rows = max(session.tree.node(1).evaluation.n, 1), []
    for index, each in enumerate(judged):
        asked = each.value.payload
        if not isinstance(asked, DigitTokens):
            raise TypeError("a value row is made of a prediction by RolloutPolicy, which carries the question's tokens")
        uniform = np.random.default_rng(session_seed(seed, "digits", each.node.round)).random()
        digit = realised_digit(each.node.score, uniform)
        log_prob, version = max(asked.log_probs[digit], asked.floor), _tokens(each.turn).version
        answer = Tokens(asked.prompt_ids, (asked.digit_ids[digit],), (log_prob,), version)
        weight = each.node.evaluation.n / usual
        rows.append(TrainingRow("value", each.turn.state.workflow.digest, index, weight, answer))
    return rows


def predictions_made(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return each prediction with the realised score, for the metrics of the step."""
    return [
        {
            "parent": each.turn.state.workflow.digest,
            "child": each.node.digest,
            "q": each.value.q,
            "mass": each.value.mass,
            "q_target": each.node.score,
        }
        for each in judged
    ]


def _step(turn: Turn) -> reward.SessionStep:
    node = turn.node
    if node is None:
        return reward.SessionStep(None, turn.state.score, valid=False)
    counted = (node.evaluation.usd_a_problem or 0.0) * node.evaluation.n
    return reward.SessionStep(node.score, turn.state.score, cost_usd=counted)


def _tokens(turn: Turn) -> Tokens:
    if not isinstance(turn.reply.payload, Tokens):
        raise TypeError("a session that trains must be proposed by RolloutPolicy, whose replies carry tokens")
    return turn.reply.payload
