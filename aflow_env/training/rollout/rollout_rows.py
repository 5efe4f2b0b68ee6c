# SPDX-License-Identifier: Apache-2.0
"""From a played session to training rows: what the agent loop tells the trainer, as plain data.

Each round is one edit row, its step reward by `rl/reward.py`. Each prediction about an expanded node is one value row:
the digit that the score of the node's best child makes true (search/q.py), with `q.loss_weight` as its advantage. Both
kinds carry (kind, anchor, step index, step reward, valid), edit rows also the expanded workflow's text. verl's
TransferQueue carries them untouched.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError
from aflow_env.rl import reward
from aflow_env.search.proposal import Prediction
from aflow_env.search.q import realised_digit
from aflow_env.search.rounds import OVER_BUDGET, SearchSession, Turn, session_seed
from aflow_env.training.rollout.policy import DigitTokens, Tokens


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


def value_rows(session: SearchSession, config: AflowConfig, seed: int) -> list[TrainingRow]:
    """One row for each expansion of a node whose prediction was asked for and whose best child is known."""
    found: list[TrainingRow] = []
    for turn, prediction, target in _judged(session):
        asked = prediction.payload
        if not config.q.rows or not isinstance(asked, DigitTokens):
            continue
        draw = np.random.default_rng(session_seed(seed, "digits", turn.ended.round)).random()
        digit = realised_digit(target, draw)
        log_prob = max(asked.log_probs[digit], asked.floor)
        tokens = Tokens(asked.prompt_ids, (asked.digit_ids[digit],), (log_prob,), _tokens(turn).version)
        anchor = turn.state.workflow.digest
        found.append(TrainingRow("value", anchor, len(found), config.q.loss_weight, tokens))
    return found


def predictions_made(session: SearchSession) -> list[dict[str, float]]:
    """Each prediction with the score of the best child that came, for the metrics of the step."""
    return [
        {"q": prediction.q, "mass": prediction.mass, "q_target": target} for _, prediction, target in _judged(session)
    ]


def _judged(session: SearchSession) -> Iterator[tuple[Turn, Prediction, float]]:
    """The turns whose prediction was asked for and whose expanded node has a best child, with its score."""
    for turn in session.turns:
        target = session.q_target(turn.ended.parent) if turn.ended.parent else None
        if turn.prediction is not None and target is not None:
            yield turn, turn.prediction, target


def session_summary(session: SearchSession) -> dict[str, float]:
    """Numbers of one session, for the reward manager's extra info and the trainer's metrics."""
    nodes = list(session.tree)
    start, best = session.tree.node(1).score, session.tree.best().score
    evaluations = [node.evaluation for node in nodes]
    outcomes: Counter[str] = Counter()
    for evaluation in evaluations:
        outcomes.update(evaluation.outcomes)
    turns = session.turns
    results = sum(len(evaluation.results) for evaluation in evaluations)
    summary = {
        "start_score": start,
        "best_score": best,
        "gain": best - start,
        "turns": float(len(turns)),
        "valid": float(sum(turn.node is not None or turn.duplicate for turn in turns)),
        "duplicates": float(sum(turn.duplicate for turn in turns)),
        "cost_usd": sum(evaluation.spent_usd for evaluation in evaluations),
        "tokens": float(sum(evaluation.input_tokens + evaluation.output_tokens for evaluation in evaluations)),
        "results": float(results),
        "cached": float(sum(evaluation.cache_hits for evaluation in evaluations)),
        "ucb": float(np.mean([np.mean(turn.selection.ucb) for turn in turns])) if turns else 0.0,
        "nodes": float(len(nodes)),
        "steered": float(sum(turn.selection.round != turn.selection.stock for turn in turns)),
    }
    return summary | {f"outcome_{name}": float(count) for name, count in outcomes.items()}


def _step(turn: Turn) -> reward.SessionStep:
    node = turn.node
    if node is None:
        return reward.SessionStep(None, turn.state.score, valid=False)
    return reward.SessionStep(node.score, turn.state.score, cost_usd=node.evaluation.cost_usd)


def _tokens(turn: Turn) -> Tokens:
    if not isinstance(turn.reply.payload, Tokens):
        raise TypeError("a session that trains must be proposed by RolloutPolicy, whose replies carry tokens")
    return turn.reply.payload
