# SPDX-License-Identifier: Apache-2.0
"""From a played session to training rows: what the agent loop tells the trainer, as plain data.

Each round is one edit row, its step reward by `rl/reward.py`. Each belief that was held about an expanded node is
`q.samples` value rows, by `q.rule`: the digit that the best child which the node turned out to have makes true, or one
that the policy draws (never at the calibrated temperature) and is rewarded for. Both kinds carry (kind, anchor, step
index, step reward, valid), edit rows also the expanded workflow's text; the trainer needs nothing else, and verl's
TransferQueue carries it untouched.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.errors import BudgetExhausted, ConfigError
from aflow_env.rl import reward
from aflow_env.search.belief import digit_expectation, expectation_reward, quadratic_score, realised_digit
from aflow_env.search.rounds import OVER_BUDGET, Session, Turn, session_seed
from aflow_env.training.rollout.policy import DIGITS, DigitTokens, Tokens


@dataclass(frozen=True)
class TrainingRow:
    """One row of the batch: tokens to train on and what its advantage is computed from."""

    kind: str
    anchor: str
    step_index: int
    step_reward: float
    valid: bool
    tokens: Tokens
    belief: float = float("nan")
    mass: float = float("nan")
    target: float = float("nan")
    baseline: float = 0.0
    """What a value row's reward is compared with; an edit row has its groups for that."""
    state: str = ""
    """The expanded workflow's text, by which `algorithm.gigpo.anchor=similarity` groups edit rows."""

    def fields(self) -> dict[str, Any]:
        """What travels through TransferQueue beside the tokens."""
        return {
            "kind": self.kind,
            "anchor": self.anchor,
            "step_index": self.step_index,
            "step_reward": self.step_reward,
            "valid": self.valid,
            "belief": self.belief,
            "mass": self.mass,
            "target": self.target,
            "baseline": self.baseline,
            "state": self.state,
        }


def check_played(session: Session, config: AflowConfig) -> None:
    """Raises BudgetExhausted or ConfigError, by what ended it, for a search without a round: nothing to train on.

    One that ended early but has rounds is as good as any, also where this session's part of them is none.
    """
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


def edit_rows(session: Session, config: AflowConfig) -> list[TrainingRow]:
    """One row a round, in order.

    Where sessions grew the tree together, a gain is one over the best that was known when the round was selected.
    """
    if session.part is None:
        steps = [_step(turn) for turn in session.turns]
        rewards = reward.step_rewards(session.tree.node(1).score, steps, config.reward)
    else:
        alone = [reward.step_rewards(turn.best, [_step(turn)], config.reward) for turn in session.turns]
        rewards = [worth for each in alone for worth in each]
    return [
        TrainingRow(
            kind="edit",
            anchor=turn.state.workflow.digest,
            step_index=index,
            step_reward=worth,
            valid=turn.node is not None,
            tokens=_tokens(turn),
            state=turn.state.workflow.text,
        )
        for index, (turn, worth) in enumerate(zip(session.turns, rewards, strict=True))
    ]


def value_rows(session: Session, config: AflowConfig, seed: int) -> list[TrainingRow]:
    """`q.samples` rows for each expansion of a node whose belief was asked for and whose best child is known."""
    found: list[TrainingRow] = []
    for turn in session.turns:
        target = session.target(turn.ended.parent) if turn.ended.parent else None
        if turn.belief is None or target is None or not config.q.train:
            continue
        asked = turn.belief.payload
        if not isinstance(asked, DigitTokens) or turn.belief.mass <= 0.0:
            continue
        version = _tokens(turn).version
        rng = np.random.default_rng(session_seed(seed, "digits", turn.ended.round))
        belief, mass = digit_expectation(asked.log_probs)
        for _ in range(config.q.samples):
            digit, came, baseline = taught(asked, belief, target, config.q.rule, rng)
            said = max(asked.log_probs[digit], asked.floor)
            tokens = Tokens(asked.prompt_ids, (asked.digit_ids[digit],), (said,), version)
            anchor = turn.state.workflow.digest
            came, baseline = config.q.loss_weight * came, config.q.loss_weight * baseline
            found.append(TrainingRow("value", anchor, len(found), came, True, tokens, belief, mass, target, baseline))
    return found


def taught(
    asked: DigitTokens, belief: float, target: float, rule: str, rng: np.random.Generator
) -> tuple[int, float, float]:
    """(digit, reward, baseline) of one value row; their difference is its advantage."""
    if rule == "log":
        return realised_digit(target, rng.random()), 1.0, 0.0
    probabilities = np.exp(np.array(asked.log_probs))
    digit = int(rng.choice(len(DIGITS), p=probabilities / probabilities.sum()))
    return digit, expectation_reward(digit, belief, target), quadratic_score(belief, target)


def session_summary(session: Session, config: AflowConfig) -> dict[str, float]:
    """Numbers of one session, for the reward manager's extra info and the trainer's metrics."""
    nodes = session.nodes
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
        "rl_weight": float(np.mean([turn.selection.w for turn in turns])) if turns else config.rl_weight,
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
