# SPDX-License-Identifier: Apache-2.0
"""Turn a played session into training rows.

Each round is one edit row, with its step reward by `rl/reward.py`. Each evaluated edit is one value row, too: the value
question about it, answered by a digit drawn around its score (prediction/q.py), with step reward 1. Both kinds carry
(kind, anchor, step index, step reward) through verl's TransferQueue.
"""

from dataclasses import dataclass

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError
from aflow_env.rl import reward
from aflow_env.search.prediction.q import realised_digit
from aflow_env.search.session import OVER_BUDGET, SearchSession, Turn, session_seed
from aflow_env.training.rollout.policy import DigitTokens, Tokens


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


def value_rows(session: SearchSession, seed: int) -> list[TrainingRow]:
    """Return one row for each evaluated edit that was predicted: the digit of its score, with reward 1."""
    rows: list[TrainingRow] = []
    for turn in session.turns:
        if turn.node is None or turn.prediction is None:
            continue
        asked = turn.prediction.payload
        if not isinstance(asked, DigitTokens):
            raise TypeError("a value row is made of a prediction by RolloutPolicy, which carries the question's tokens")
        uniform = np.random.default_rng(session_seed(seed, "digits", turn.node.round)).random()
        digit = realised_digit(turn.node.score, uniform)
        log_prob, version = max(asked.log_probs[digit], asked.floor), _tokens(turn).version
        answer = Tokens(asked.prompt_ids, (asked.digit_ids[digit],), (log_prob,), version)
        rows.append(TrainingRow("value", turn.state.workflow.digest, len(rows), 1.0, answer))
    return rows


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
