# SPDX-License-Identifier: Apache-2.0
"""GiGPO's promises: the properties of its equations, its differences from the reference, and the edges."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aflow_env.rl.gigpo import GigpoConfig, episode_advantages, gigpo, norm, step_returns
from aflow_env.rl.rows import Steps
from tests.golden import main as golden
from tests.rl.batches import Row, advantages, batch, configs, examples, others, per_row, row_lists, scaled
from tests.rl.loops import loop_gigpo
from tests.rl.reference_gigpo import ReferenceRow, reference_gigpo


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def episode_part(rows: list[Row]) -> torch.Tensor:
    return per_row(rows, lambda steps: episode_advantages(steps, "mean_norm"))


def reference_rows(rows: list[Row]) -> list[ReferenceRow]:
    return [ReferenceRow(row.uid, f"{row.uid}/{row.trajectory}", row.anchor, row.reward) for row in rows]


def test_the_reference_reproduces_verl_agent_and_ours_where_both_agree(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every recorded case is the reference's; ours has the same step returns, and the same advantages where means over
    rows are means over sessions."""
    assert golden([str(shared / "golden" / "gigpo.json")]) == 0
    said = capsys.readouterr().out
    assert "60 cases, largest error" in said
    assert "60 cases' step returns, 15 of 119 search problems' advantages" in said


def test_golden_runner_notices_a_wrong_number(tmp_path: Path, shared: Path) -> None:
    """A recording with another discount is a mismatch, an empty one is nothing to compare."""
    text = (shared / "golden" / "gigpo.json").read_text()
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text.replace('"gamma": 0.5,', '"gamma": 0.501,', 1))
    assert golden([str(wrong)]) == 1
    wrong.write_text('{"cases": []}')
    assert golden([str(wrong)]) == 2


@examples
@given(row_lists(), configs)
def test_vectorised_agrees_with_the_loop(rows: list[Row], config: GigpoConfig) -> None:
    """The vectorised advantages are those of the equations, written as loops."""
    assert_close(advantages(rows, gigpo, config), loop_gigpo(batch(rows), config))


@examples
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_with_sessions_of_equal_length_it_is_the_reference(sessions: int, length: int, data: st.DataObject) -> None:
    """Where each session has as many steps, means over rows are means over sessions (but not their deviations)."""
    rewards = st.integers(-8, 8).map(lambda eighths: eighths / 8)
    rows = [
        Row("u0", str(s), data.draw(st.sampled_from(["a", "b"])), t, data.draw(rewards))
        for s in range(sessions)
        for t in range(length)
    ]
    if len(rows) > 1:
        _, expected, _ = reference_gigpo(reference_rows(rows), gamma=0.5)
        assert_close(advantages(rows, gigpo, GigpoConfig(gamma=0.5)), expected)


@examples
@given(row_lists(), configs, st.randoms(use_true_random=False))
def test_permuting_rows_permutes_the_advantages(rows: list[Row], config: GigpoConfig, random: Random) -> None:
    """The order of rows in the batch is irrelevant."""
    order = list(range(len(rows)))
    random.shuffle(order)
    assert_close(advantages([rows[i] for i in order], gigpo, config), advantages(rows, gigpo, config)[order])


@examples
@given(row_lists(), configs, st.lists(others, min_size=1, max_size=5), st.integers(0, 99))
def test_rows_that_are_no_edits_change_nothing(
    rows: list[Row], config: GigpoConfig, more: list[Row], place: int
) -> None:
    """Value rows and padding rows get 0, whatever they carry, and the other rows get what they get without them."""
    cut = place % (len(rows) + 1)
    among = advantages([*rows[:cut], *more, *rows[cut:]], gigpo, config)
    assert not among[cut : cut + len(more)].any()
    assert_close(torch.cat([among[:cut], among[cut + len(more) :]]), advantages(rows, gigpo, config))


@examples
@given(row_lists(), configs, st.sampled_from([-3.0, 0.5, 10.0]))
def test_adding_a_constant_to_a_groups_returns_changes_nothing(
    rows: list[Row], config: GigpoConfig, constant: float
) -> None:
    """The constant goes to the last step of every session of u0. At gamma = 1 it reaches each return undiminished, so
    it cancels on both levels, whatever the lengths of the sessions."""
    config = config.model_copy(update={"gamma": 1.0})
    last = {
        (row.uid, row.trajectory): max(r.step for r in rows if (r.uid, r.trajectory) == (row.uid, row.trajectory))
        for row in rows
    }
    shifted = [
        replace(row, reward=row.reward + constant)
        if row.uid == "u0" and row.step == last[row.uid, row.trajectory]
        else row
        for row in rows
    ]
    assert_close(advantages(shifted, gigpo, config), advantages(rows, gigpo, config))


@examples
@given(row_lists(), configs, st.sampled_from([0.25, 8.0]))
def test_scaling_rewards_scales_mean_norm_and_leaves_mean_std_norm(
    rows: list[Row], config: GigpoConfig, factor: float
) -> None:
    """`mean_std_norm` is left alone up to the epsilon under deviations, the smallest of which is about 1e-3 here."""
    before, after = advantages(rows, gigpo, config), advantages(scaled(rows, factor), gigpo, config)
    if config.mode == "mean_norm":
        assert_close(after, factor * before)
    else:
        torch.testing.assert_close(after, before, rtol=5e-3, atol=5e-3)


def test_a_uid_with_one_session_has_no_advantage_and_in_the_reference_its_return() -> None:
    """There is nothing to compare with; the reference compares rows, so its uids of one row keep their return."""
    rows = [Row("u0", "0", "a", 0, 0.5), Row("u0", "0", "b", 1, 0.25), Row("u1", "0", "a", 0, 0.5)]
    for mode in ("mean_norm", "mean_std_norm"):
        assert not advantages(rows, gigpo, GigpoConfig(mode=mode)).any()
    _, _, episode = reference_gigpo(reference_rows(rows))
    assert_close(episode, torch.tensor([0.0, 0.0, 0.5]))


def test_equal_scores_teach_nothing_in_ours_and_rounding_noise_in_the_reference() -> None:
    """-0.2074 three times: their float32 mean is off by one unit in the last place, and 1e-6 does not hide it."""
    rows = [Row("u0", str(i), f"state {i}", 0, -0.2074) for i in range(3)]
    assert advantages(rows, gigpo, GigpoConfig(mode="mean_std_norm")).abs().max() < 1e-8
    one = [Row("u0", "0", f"state {i}", i, reward) for i, reward in enumerate([0.4751, 0.212, -0.8945])]
    _, _, episode = reference_gigpo(reference_rows(one), mode="mean_std_norm")
    assert episode[0].item() == pytest.approx(0.014634, abs=1e-6)


def test_long_sessions_weigh_more_in_the_reference_only() -> None:
    """One session of four rows with R = 1 and one of a single row with R = 0."""
    rows = [*(Row("u0", "0", f"l{i}", i, 0.25) for i in range(4)), Row("u0", "1", "s", 0, 0.0)]
    assert_close(episode_part(rows), torch.tensor([0.5, 0.5, 0.5, 0.5, -0.5]))
    _, _, episode = reference_gigpo(reference_rows(rows))
    assert_close(episode, torch.tensor([0.2, 0.2, 0.2, 0.2, -0.8]))


def test_a_penalty_in_the_reward_reaches_earlier_steps_and_the_references_only_its_own() -> None:
    """A rejected action costs 0.2: ours charges it as a reward (reward.py), the reference after discounting."""
    rows = [Row("u0", "0", "a", 0, 0.0), Row("u0", "0", "b", 1, -0.2), Row("u0", "1", "a", 0, 0.0)]
    assert_close(per_row(rows, lambda steps: step_returns(steps, 0.5)), torch.tensor([-0.1, -0.2, 0.0]))
    assert_close(episode_part(rows), torch.tensor([-0.1, -0.1, 0.1]))
    plain = [replace(row, reward=0.0, valid=place != 1) for place, row in enumerate(reference_rows(rows))]
    returns, _, _ = reference_gigpo(plain, gamma=0.5, invalid_penalty=0.2)
    assert_close(returns, torch.tensor([0.0, -0.2, 0.0]))


@examples
@given(st.lists(st.floats(-2, 2, width=16), min_size=1, max_size=70), st.sampled_from([0.0, 0.3, 0.95, 1.0]))
def test_discounted_returns_of_long_sessions(rewards: list[float], gamma: float) -> None:
    """Doubling loses no digits: the returns are those of the recursion, backwards from the last step."""
    expected: list[float] = []
    for reward in reversed(rewards):
        expected.append(reward + gamma * (expected[-1] if expected else 0.0))
    steps = Steps.of(batch([Row("u0", "0", "a", t, reward) for t, reward in enumerate(rewards)]))
    got = step_returns(steps, gamma)
    torch.testing.assert_close(got, torch.tensor(expected[::-1], dtype=torch.float64), rtol=1e-12, atol=1e-12)


@examples
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-3, 3, width=32)), min_size=1, max_size=60), st.integers(0, 1))
def test_norm_divides_by_the_deviation_of_the_group(pairs: list[tuple[int, float]], correction: int) -> None:
    """Mean and deviation are torch's own of the group's members; a group of one gives 0."""
    values = torch.tensor([value for _, value in pairs], dtype=torch.float64)
    groups = torch.unique(torch.tensor([group for group, _ in pairs]), return_inverse=True)[1]
    got = norm(values, groups, "mean_std_norm", correction)
    for group in groups.unique():
        members = values[groups == group]
        std = members.std(correction=correction) if len(members) > 1 else torch.tensor(1.0)
        torch.testing.assert_close(got[groups == group], (members - members.mean()) / (std + 1e-6))


def test_the_step_level_compares_steps_of_one_uid_with_one_anchor() -> None:
    """A_S written out: two steps meet in w, one of another uid does not join them."""
    rows = [Row("u0", "0", "w", 0, 1.0), Row("u0", "1", "w", 3, 0.5), Row("u0", "2", "x", 0, 0.75)]
    rows.append(Row("u1", "0", "w", 0, 9.0))
    with_step, without = (advantages(rows, gigpo, GigpoConfig(step_advantage_w=w)) for w in (2.0, 0.0))
    assert_close(with_step - without, torch.tensor([0.5, -0.5, 0.0, 0.0]))


def test_a_misspelt_switch_is_refused() -> None:
    """An unknown switch and an unknown mode are errors."""
    with pytest.raises(ValidationError, match="step_w"):
        GigpoConfig(step_w=1.0)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="mean_norm"):
        GigpoConfig(mode="mean")  # type: ignore[arg-type]
