# SPDX-License-Identifier: Apache-2.0
"""An evaluated edit becomes a training row: the value question, answered by the digit that came true."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aflow_env.errors import BudgetExhausted, ConfigError
from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.search.prediction.predict import ActionValue
from aflow_env.training.rollout.policy import DigitTokens, Tokens
from aflow_env.training.rollout.rollout_rows import Judged, TrainingRow, check_played, edit_rows, judge, value_rows
from tests.search.support import EXECUTOR, node, results
from tests.search.test_rounds import config, play

ODDS = (0.91, *[0.01] * 9)
ASKED = DigitTokens((1, 2, 3), tuple(range(50, 60)), tuple(map(math.log, ODDS)), -10.0)


def rows(score: float = 1.0, n: int = 12) -> list[TrainingRow]:
    """The value rows of a session whose start was scored on 12 problems, and one edit of it on n."""
    turn: Any = SimpleNamespace(
        reply=SimpleNamespace(payload=Tokens((1, 2), (9,), (-0.5,), 4)),
        state=SimpleNamespace(workflow=SimpleNamespace(digest="start")),
    )
    node: Any = SimpleNamespace(score=score, round=2, evaluation=SimpleNamespace(n=n))
    start = SimpleNamespace(evaluation=SimpleNamespace(n=12))
    session: Any = SimpleNamespace(tree=SimpleNamespace(node=lambda round_: start))
    return value_rows([Judged(turn, node, ActionValue(0.5, 1.0, ASKED))], session, seed=5)


def test_a_value_row_is_the_digit_that_came_true() -> None:
    """The question's tokens, the digit of the score, its log-probability, and the weights' version."""
    (row,) = rows()
    assert row.tokens == Tokens((1, 2, 3), (59,), (math.log(0.01),), 4)
    assert (row.kind, row.anchor) == ("value", "start")
    (worst,) = rows(score=0.0)
    assert worst.tokens.response_ids == (50,)


@pytest.mark.parametrize(("n", "worth"), [(12, 1.0), (6, 0.5), (3, 0.25)])
def test_a_score_on_fewer_problems_weighs_less(n: int, worth: float) -> None:
    """By its share of the usual number of problems."""
    (row,) = rows(n=n)
    assert row.step_reward == pytest.approx(worth)


def test_a_failure_of_the_world_changes_no_reward() -> None:
    """The reward is charged with the cost of the runs that count."""

    def rewarded(lost: int) -> list[float]:
        failed = [ProblemResult(f"l{at}", 0, Outcome.LLM_ERROR, cost_usd=9.0, unpriced=1) for at in range(lost)]
        turn: Any = SimpleNamespace(
            reply=SimpleNamespace(payload=Tokens((1, 2), (9,), (-0.5,), 4)),
            state=SimpleNamespace(workflow=SimpleNamespace(digest="start"), score=0.0),
            node=replace(node(2, 1), evaluation=summarise("w", EXECUTOR, [*results(5), *failed])),
        )
        tree = SimpleNamespace(node=lambda round_: node(1, None, 0))
        session: Any = SimpleNamespace(turns=[turn], tree=tree)
        return [row.step_reward for row in edit_rows(session, config(Path("unused"), "reward.cost_weight=0.1"))]

    assert rewarded(0) == rewarded(2) == [pytest.approx(0.5 - 0.1 * 10 * 0.125)]


def test_every_evaluated_edit_is_asked_about_and_no_rejected_one(tmp_path: Path) -> None:
    """In one request, with the state in which it was proposed and the workflow that it made."""
    session, _ = play(config(tmp_path, "proposer=random", "rounds=8"))
    asked: list[Any] = []

    async def values(pairs: Any) -> list[ActionValue]:
        asked.append(pairs)
        return [ActionValue(0.5)] * len(pairs)

    judged = asyncio.run(judge(session, SimpleNamespace(values=values)))  # type: ignore[arg-type]
    (pairs,) = asked
    evaluated = [turn for turn in session.turns if turn.node]
    assert 0 < len(evaluated) == len(judged)
    assert [(state, edit.workflow) for state, edit in pairs] == [(turn.state, turn.node.workflow) for turn in evaluated]


@pytest.mark.parametrize("calls", [2, 5])
def test_a_budget_that_leaves_no_round_is_named_with_its_value_what_is_spent_and_the_fix(
    tmp_path: Path, calls: int
) -> None:
    """Whether it is the start workflow that cannot be paid, or only what comes of it."""
    settings = config(tmp_path, "proposer=random", f"budget.calls={calls}")
    session, _ = play(settings)
    assert len(session.tree) == (1 if calls == 5 else 0)
    said = (
        rf"aflow\.budget\.calls={calls}: .* budget\.calls is reached: .* {calls} calls are spent.* Raise budget\.calls"
    )
    with pytest.raises(BudgetExhausted, match=said):
        check_played(session, settings)


def test_a_session_that_the_budget_cut_short_trains_on_the_rounds_it_has(tmp_path: Path) -> None:
    settings = config(tmp_path, "proposer=random", "rounds=8", "budget.calls=9")
    session, _ = play(settings)
    assert session.stopped.startswith("budget: ")
    assert 1 <= session.tree.played < 8
    check_played(session, settings)


def test_a_stop_that_the_start_workflow_reaches_is_named(tmp_path: Path) -> None:
    settings = config(tmp_path, "proposer=random", "stop.tokens=1")
    session, _ = play(settings)
    with pytest.raises(ConfigError, match=r"stop\.tokens=1 is reached.*aflow\.stop"):
        check_played(session, settings)
