# SPDX-License-Identifier: Apache-2.0
"""From a played session to training rows: what the agent loop tells the trainer, as plain data.

Each round is one edit row, its step reward by `rl/reward.py`. Each evaluated edit is one value row too: the value
question about it, answered by a digit drawn around the score that came (prediction/q.py). The row's step reward is its
weight in the update: n / (the start workflow's n), so an evaluation that a race cut short counts for the problems that
it has. Both kinds carry (kind, anchor, step index, step reward) through verl's TransferQueue.
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
    """One row of the batch: tokens to train on and what its advantage is computed from."""

    kind: str
    anchor: str
    step_index: int
    step_reward: float
    tokens: Tokens

    def fields(self) -> dict[str, Any]:
        """What travels through TransferQueue beside the tokens."""
        return {
            "kind": self.kind,
            "anchor": self.anchor,
            "step_index": self.step_index,
            "step_reward": self.step_reward,
        }


def check_played(session: SearchSession, config: AflowConfig) -> None:
    """Raises BudgetExhausted or ConfigError, by what ended it, for a search without a round: nothing to train on."""
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
    """One row a round, in order."""
    steps = [_step(turn) for turn in session.turns]
    rewards = reward.step_rewards(session.tree.node(1).score, steps, config.reward)
    return [
        TrainingRow(
            kind="edit",
            anchor=turn.state.workflow.digest,
            step_index=index,
            step_reward=worth,
            tokens=_tokens(turn),
        )
        for index, (turn, worth) in enumerate(zip(session.turns, rewards, strict=True))
    ]


@dataclass(frozen=True)
class Judged:
    """An evaluated edit: the turn, the child that came of it, and what the policy predicts of it."""

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
    """One row for each evaluated edit: the digit that came true, and its weight."""
    usual = max(session.tree.node(1).evaluation.n, 1)
    return [
        TrainingRow(
            kind="value",
            anchor=each.turn.state.workflow.digest,
            step_index=index,
            step_reward=each.node.evaluation.n / usual,
            tokens=_answer(each, np.random.default_rng(session_seed(seed, "digits", each.node.round)).random()),
        )
        for index, each in enumerate(judged)
    ]


def predictions_made(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Each prediction with the score that came, for the metrics of the step."""
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


def _answer(judged: Judged, uniform: float) -> Tokens:
    """The value question's tokens with the digit that came true."""
    asked = judged.value.payload
    if not isinstance(asked, DigitTokens):
        raise TypeError("a value row is made of a prediction by RolloutPolicy, which carries the question's tokens")
    digit = realised_digit(judged.node.score, uniform)
    log_prob = max(asked.log_probs[digit], asked.floor)
    return Tokens(asked.prompt_ids, (asked.digit_ids[digit],), (log_prob,), _tokens(judged.turn).version)


def _tokens(turn: Turn) -> Tokens:
    if not isinstance(turn.reply.payload, Tokens):
        raise TypeError("a session that trains must be proposed by RolloutPolicy, whose replies carry tokens")
    return turn.reply.payload
