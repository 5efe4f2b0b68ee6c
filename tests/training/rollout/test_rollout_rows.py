# SPDX-License-Identifier: Apache-2.0
"""A prediction becomes a training row: the digit that came true."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aflow_env.cli.compose import load
from aflow_env.errors import BudgetExhausted, ConfigError
from aflow_env.training.rollout.policy import DigitTokens, Tokens
from aflow_env.training.rollout.rollout_rows import TrainingRow, check_played, value_rows
from tests.search.test_rounds import config, play

ODDS = (0.91, *[0.01] * 9)
ASKED = DigitTokens((1, 2, 3), tuple(range(50, 60)), tuple(map(math.log, ODDS)), -10.0)


def rows(tmp_path: Path, *overrides: str, target: float | None = 1.0) -> list[TrainingRow]:
    """The value rows of a session that expanded its start once."""
    turn = SimpleNamespace(
        ended=SimpleNamespace(parent=1, round=2),
        prediction=SimpleNamespace(payload=ASKED, mass=1.0),
        reply=SimpleNamespace(payload=Tokens((1, 2), (9,), (-0.5,), 4)),
        state=SimpleNamespace(workflow=SimpleNamespace(digest="start")),
    )
    session: Any = SimpleNamespace(turns=[turn], q_target=lambda parent: target)
    return value_rows(session, load([f"run_dir={tmp_path}", "proposer=random", *overrides]), seed=5)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_a_value_row_is_the_digit_that_came_true_with_the_weight_as_its_reward(tmp_path: Path, weight: float) -> None:
    (row,) = rows(tmp_path, f"q.loss_weight={weight}")
    assert row.tokens.response_ids == (59,)
    assert row.tokens.log_probs == (math.log(0.01),)
    assert row.step_reward == weight


def test_an_expansion_of_which_nothing_came_teaches_nothing_nor_does_a_weight_of_0(tmp_path: Path) -> None:
    assert rows(tmp_path, target=None) == []
    assert rows(tmp_path, "q.loss_weight=0") == []


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
