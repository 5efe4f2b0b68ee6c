# SPDX-License-Identifier: Apache-2.0
"""What is computed from a table of outcomes: held-out gains, and searches that are replayed on it."""

import numpy as np
import pytest

from recipe.evidence import outcomes, tables
from tests.tasks.tables import small_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> outcomes.Outcomes:
    return outcomes.outcomes(str(small_table(tmp_path_factory.mktemp("table"))))


def planted(table: outcomes.Outcomes, better: str, problems: int = 200) -> outcomes.Outcomes:
    """The table with coin-flip outcomes on more problems, at 0.5; the workflow `better` solves 0.9."""
    rates = np.full((len(table.steps), 1), 0.5)
    rates[table.place(outcomes.baselines(table)[better])] = 0.9
    correct = (np.random.default_rng(1).random((len(table.steps), problems)) < rates).astype(float)
    tokens, calls = (np.repeat(each[:, :1], problems, axis=1) for each in (table.tokens_WP, table.calls_WP))
    return outcomes.Outcomes(table.config, table.spec, table.steps, correct, tokens, calls)


def test_a_planted_best_workflow_is_found_and_chance_is_not(table: outcomes.Outcomes) -> None:
    """The best of 62 equal workflows on the same problems is far ahead by luck; on other problems it is not."""
    found = planted(table, "Select x5")
    start = outcomes.baselines(found)["IO"]
    low, high = np.quantile(outcomes.differences(found, start, False, 300), [0.025, 0.975])
    assert low > 0.15
    assert high < 0.65
    equal = outcomes.differences(found, start, True, 300)
    low, high = np.quantile(equal, [0.025, 0.975])
    assert low < 0 < high
    assert abs(equal.mean()) < 0.06


def test_equal_tokens_leave_out_workflows_that_cost_more(table: outcomes.Outcomes) -> None:
    """A gain at equal tokens is none that more draws have bought."""
    found = planted(table, "Select x5")
    thrifty = outcomes.differences(found, outcomes.baselines(found)["CoT-SC x5"], True, 100)
    assert thrifty.mean() > 0.2, "Select x5 needs no more tokens than CoT-SC x5"


def test_replays_are_paired_repeatable_and_stay_in_the_table(table: outcomes.Outcomes) -> None:
    """All arms of a replay search on the same problems, and a second run of it gives the same rows."""
    rows = list(tables.replay(table, 3))
    assert [row["arm"] for row in rows] == [*tables.arms(table), "best of the earlier run"]
    assert rows == list(tables.replay(table, 3))
    assert any(row["calls"] for row in rows)
    assert all(0 <= row["test"] <= 1 for row in rows)
    world = tables.TableWorld(3, table)
    assert len(np.unique(np.concatenate(list(world.problems.values())))) == table.correct_WP.shape[1]
    for edit in tables.neighbours(table, world.start):
        assert table.place(edit.steps) not in (None, table.place(world.start))
