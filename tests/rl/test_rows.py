# SPDX-License-Identifier: Apache-2.0
"""Rows become steps: sorted, with exact ids; what would bias a mean is refused. Groups have metrics."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given

from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.rows import Steps, group_metrics, string_ids, token_advantages
from tests.rl.batches import Row, batch, examples, others, row_lists


@examples
@given(row_lists())
def test_steps_are_sorted_and_keep_their_keys(rows: list[Row]) -> None:
    """Two steps share an id exactly where their rows share the key; sessions are in order of their steps."""
    steps = Steps.of(batch(rows))
    own = [rows[place] for place in steps.place_M.tolist()]
    keys = [
        (steps.uid_M, [row.uid for row in own]),
        (steps.session_M, [(row.uid, row.trajectory) for row in own]),
        (steps.anchor_M, [(row.uid, row.anchor) for row in own]),
    ]
    for ids, names in keys:
        pairs = set(zip(ids.tolist(), names, strict=True))
        assert len(pairs) == len(set(names)) == int(ids.max()) + 1
    order = [(session, row.step) for session, row in zip(steps.session_M.tolist(), own, strict=True)]
    assert order == sorted(order)
    assert steps.reward_M.tolist() == [row.reward for row in own]
    assert steps.tokens_M.tolist() == [row.length for row in own]


def test_values_go_back_to_their_rows() -> None:
    """`to_rows` undoes the sorting and leaves rows that are no edits at 0."""
    steps = Steps.of(
        batch([Row("u", "0", "a", 1, 3.0), Row("u", "0", "a", 0, 7.0, edit=False), Row("u", "0", "a", 0, 5.0)])
    )
    assert steps.reward_M.tolist() == [5.0, 3.0]
    assert steps.to_rows(steps.reward_M).tolist() == [3.0, 0.0, 5.0]


def test_ids_are_dense_and_exact() -> None:
    """Ids count distinct strings in order of appearance."""
    assert string_ids(["b", "a", "b", "c"]).tolist() == [0, 1, 0, 2]
    assert string_ids([]).tolist() == []


def test_a_repeated_step_is_refused() -> None:
    """A row that fills a batch is no edit; the same row as an edit would enter every mean twice."""
    row = Row("u0", "0", "a", 0, 1.0)
    with pytest.raises(ValueError, match="repeat a step"):
        Steps.of(batch([row, row]))
    assert len(Steps.of(batch([row, replace(row, edit=False), replace(row, trajectory="1")])).uid_M) == 2


def test_a_reward_that_is_not_finite_is_refused() -> None:
    """The message names the row."""
    with pytest.raises(ValueError, match=r"rewards of rows \[1\] are not finite"):
        Steps.of(batch([Row("u0", "0", "a", 0, 1.0), Row("u0", "1", "a", 0, float("nan"))]))


def test_columns_of_different_length_are_refused() -> None:
    """The message names the column."""
    data = batch([Row("u0", "0", "a", 0, 1.0)])
    with pytest.raises(ValueError, match=r"rows\.anchor has 2 entries, rows\.uid has 1"):
        replace(data, anchor=["a", "b"])
    with pytest.raises(ValueError, match="must be \\(rows, tokens\\)"):
        replace(data, response_mask=torch.ones(1))


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.int64, torch.float32])
def test_any_mask_type_gives_float32_advantages(dtype: torch.dtype) -> None:
    """Each row's advantage is on its response tokens; the mask is left as it was."""
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]]).to(dtype)
    kept = mask.clone()
    found = token_advantages(torch.tensor([0.5, -1.0, 3.0]), mask)
    assert found.dtype == torch.float32
    assert found.tolist() == [[0.5, 0.5, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert torch.equal(mask, kept)


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
