# SPDX-License-Identifier: Apache-2.0
"""The metrics of a batch's groups."""

import pytest
from hypothesis import given

from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.group_metrics import group_metrics
from aflow_env.rl.rows import Steps
from tests.rl.batches import Row, batch, examples, others, row_lists


def metrics(rows: list[Row]) -> dict[str, float]:
    steps = Steps.of(batch(rows))
    return group_metrics(steps, gigpo(steps, GigpoConfig()))


def test_metrics_say_how_often_there_was_somebody_to_compare_with() -> None:
    """Six rows in three groups: the root of u0 (3), a lone step (1), and the root of u1 (2), where all are equal."""
    rows = [Row("u0", str(i), "root", 0, float(i)) for i in range(3)] + [Row("u0", "0", "w", 1, 0.0)]
    rows += [Row("u1", str(i), "root", 0, 1.0) for i in range(2)]
    found = metrics(rows)
    assert (found["anchor_groups"], found["episode_groups"]) == (3, 2)
    assert found["singleton_anchor_fraction"] == pytest.approx(1 / 3)
    assert found["singleton_row_fraction"] == pytest.approx(1 / 6)
    assert (found["anchor_group_size/mean"], found["anchor_group_size/max"]) == (2.0, 3.0)
    assert found["anchor_group_size/p50"] == 2.0
    assert found["anchor_group_size/rows_1_1"] == pytest.approx(1 / 6)
    assert found["anchor_group_size/rows_3_4"] == pytest.approx(3 / 6)
    assert found["episode_groups_without_signal"] == pytest.approx(1 / 2)
    assert found["anchor_groups_without_signal"] == pytest.approx(1 / 3)


@examples
@given(row_lists())
def test_sizes_are_shares_of_the_rows(rows: list[Row]) -> None:
    """The bins are disjoint and complete, and the order of rows is irrelevant."""
    found = metrics(rows)
    assert sum(value for name, value in found.items() if "/rows_" in name) == pytest.approx(1.0)
    assert metrics(rows[::-1]) == pytest.approx(found, abs=1e-9)


@given(others)
def test_a_batch_without_edit_rows_has_no_metrics(row: Row) -> None:
    """A share of nothing is undefined, so it is left out."""
    assert metrics([row]) == {}
