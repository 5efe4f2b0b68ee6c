# SPDX-License-Identifier: Apache-2.0
"""GiGPO's promises: the reference's numbers, the properties of the equations, and what happens at the edges."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from aflow_env.rl.baselines import grpo, reinforce_plus_plus, rloo
from aflow_env.rl.gigpo import OURS, REFERENCE, GigpoConfig, GigpoRows, compute_gigpo, compute_value_advantages
from aflow_env.rl.rows import discounted_returns, group_statistics
from tests.golden import main as golden
from tests.rl.batches import TEXTS, Row, batch, configs, examples, paddings, row_lists, scaled
from tests.training.rollout.loops import loop_gigpo


def assert_close(got: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def edits_only(rows: list[Row]) -> torch.Tensor:
    return torch.tensor([row.kind == "edit" for row in rows])


def test_reference_preset_reproduces_verl_agent(shared: Path) -> None:
    assert golden([str(shared / "golden" / "gigpo.json")]) == 0


def test_golden_runner_notices_a_wrong_number(tmp_path: Path, shared: Path) -> None:
    text = (shared / "golden" / "gigpo.json").read_text()
    wrong = tmp_path / "wrong.json"
    wrong.write_text(text.replace('"gamma": 0.5,', '"gamma": 0.501,', 1))
    assert golden([str(wrong)]) == 1
    wrong.write_text('{"cases": []}')
    assert golden([str(wrong)]) == 2


@examples
@given(row_lists(), configs)
def test_vectorised_agrees_with_the_loop(rows: list[Row], config: GigpoConfig) -> None:
    data = batch(rows)
    edits = edits_only(rows)
    assert_close(compute_gigpo(data, config).advantages[edits], loop_gigpo(data, config)[edits])


@examples
@given(row_lists(values=False), configs)
def test_float32_arithmetic_is_the_same_algorithm(rows: list[Row], config: GigpoConfig) -> None:
    assume(config.mode == "mean_norm")  # With a deviation the two differ in groups of equal scores, by design.
    single = compute_gigpo(batch(rows), config.model_copy(update={"arithmetic": "float32"})).advantages
    assert_close(single, compute_gigpo(batch(rows), config).advantages)


@examples
@given(row_lists(), configs, st.randoms(use_true_random=False))
def test_permuting_rows_permutes_the_output(rows: list[Row], config: GigpoConfig, random: Random) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    there = compute_gigpo(batch(rows), config)
    moved = compute_gigpo(batch([rows[i] for i in order]), config)
    assert_close(moved.advantages, there.advantages[order])
    assert_close(moved.step_returns, there.step_returns[order])
    assert moved.metrics == pytest.approx(there.metrics, abs=1e-9)


@examples
@given(row_lists(), configs, st.lists(paddings, min_size=1, max_size=5), st.integers(0, 99))
def test_padding_rows_change_nothing(rows: list[Row], config: GigpoConfig, padding: list[Row], place: int) -> None:
    cut = place % (len(rows) + 1)
    mixed = [*rows[:cut], *padding, *rows[cut:]]
    is_padding = torch.tensor([row.padding for row in mixed])
    alone, among = compute_gigpo(batch(rows), config), compute_gigpo(batch(mixed), config)
    assert_close(among.advantages[~is_padding], alone.advantages)
    assert not among.advantages[is_padding].any()
    assert among.metrics == pytest.approx(alone.metrics, abs=1e-9)


@examples
@given(row_lists(values=False), configs, st.sampled_from([-3.0, 0.5, 10.0]))
def test_adding_a_constant_to_a_groups_returns_changes_nothing(
    rows: list[Row], config: GigpoConfig, constant: float
) -> None:
    """The constant goes to the last step of every session of u0, in the currency of the episode return. At gamma = 1
    it reaches each step return undiminished, so it cancels on both levels, whatever the lengths of the sessions."""
    config = config.model_copy(update={"gamma": 1.0, "singleton": "zero"})
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
    before, after = compute_gigpo(batch(rows), config), compute_gigpo(batch(shifted), config)
    assert_close(after.advantages, before.advantages)
    reached = torch.tensor([constant if row.uid == "u0" else 0.0 for row in rows])
    assert_close(after.step_returns, before.step_returns + reached)


@examples
@given(row_lists(values=False), configs, st.sampled_from([0.25, 8.0]))
def test_scaling_rewards_scales_mean_norm_and_leaves_mean_std_norm(
    rows: list[Row], config: GigpoConfig, factor: float
) -> None:
    config = config.model_copy(update={"invalid_penalty": 0.0, "singleton": "zero"})
    before, after = compute_gigpo(batch(rows), config), compute_gigpo(batch(scaled(rows, factor)), config)
    if config.mode == "mean_norm":
        assert_close(after.advantages, factor * before.advantages)
    else:  # Up to the epsilon under deviations, the smallest of which is about 1e-3 here.
        torch.testing.assert_close(after.advantages, before.advantages, rtol=5e-3, atol=5e-3)


@examples
@given(row_lists(), configs)
def test_w_zero_is_grpo_on_trajectories(rows: list[Row], config: GigpoConfig) -> None:
    """GRPO written out: every session counts once, R against the sessions of its uid."""
    config = config.model_copy(update={"step_advantage_w": 0.0, "invalid_penalty": 0.0, "leave_one_out": False})
    config = config.model_copy(update={"episode_norm": "trajectories", "singleton": "zero"})
    expected = []
    for row in rows:
        own = {(r.trajectory): 0.0 for r in rows if r.uid == row.uid and r.kind == "edit"}
        for r in rows:
            if r.uid == row.uid and r.kind == "edit":
                own[r.trajectory] += r.reward
        returns = torch.tensor(list(own.values()), dtype=torch.float64)
        if row.kind == "value" or len(returns) == 1:
            expected.append(0.0)
            continue
        scale = 1.0 if config.mode == "mean_norm" else returns.std().item() + 1e-6
        expected.append((own[row.trajectory] - returns.mean().item()) / scale)
    result = compute_gigpo(batch(rows), config)
    assert_close(result.advantages_episode, torch.tensor(expected))
    assert torch.equal(result.advantages, grpo(batch(rows), config).advantages)


def test_value_rows_are_compared_with_answers_to_the_same_question_only() -> None:
    edits = [Row("u0", "0", "a", 0, 1.0), Row("u0", "1", "a", 0, 0.0)]
    values = [
        Row("u0", "0", "a", 0, 0.9, kind="value"),  # the same step as an edit row: not a repetition
        Row("u0", "0", "a", 0, 0.5, kind="value"),
        Row("u0", "0", "b", 1, 0.3, kind="value"),  # alone: no signal
        Row("u1", "0", "a", 0, 0.2, kind="value"),  # another search problem
    ]
    data = batch([*edits, *values])
    expected = torch.tensor([0, 0, 0.2, -0.2, 0, 0])
    torch.testing.assert_close(compute_value_advantages(data), expected)
    for estimator in (compute_gigpo, grpo, rloo, reinforce_plus_plus):
        together, alone = estimator(data), estimator(batch(edits))
        torch.testing.assert_close(together.advantages[2:, 0], expected[2:])
        assert torch.equal(together.advantages[:2], alone.advantages)
        assert not together.advantages_episode[2:].any()
        assert not together.advantages_step[2:].any()


def test_a_uid_with_one_session_gets_the_documented_value() -> None:
    rows = [Row("u0", "0", "a", 0, 0.5), Row("u0", "0", "b", 1, 0.25), Row("u1", "0", "a", 0, 0.5)]
    assert not compute_gigpo(batch(rows), OURS).advantages.any()
    raw = compute_gigpo(batch(rows), OURS.model_copy(update={"singleton": "raw"}))
    torch.testing.assert_close(raw.advantages_episode, torch.tensor([0.75, 0.75, 0.5]))
    by_rows = compute_gigpo(batch(rows), REFERENCE)  # u0 has two rows there, hence a mean; u1 has one
    torch.testing.assert_close(by_rows.advantages_episode, torch.tensor([0.0, 0.0, 0.5]))
    assert not raw.advantages_step.any()
    assert not by_rows.advantages_step.any()


def test_equal_scores_teach_nothing_in_ours_and_rounding_noise_in_the_reference() -> None:
    """-0.2074 three times: their float32 mean is off by one unit in the last place, and 1e-6 does not hide it."""
    rows = [Row("u0", "0", f"state {i}", i, reward) for i, reward in enumerate([0.4751, 0.212, -0.8945])]
    noisy = REFERENCE.model_copy(update={"mode": "mean_std_norm"})
    assert compute_gigpo(batch(rows), noisy).advantages_episode[0].item() == pytest.approx(0.014634, abs=1e-6)
    exact = noisy.model_copy(update={"arithmetic": "float64"})
    assert compute_gigpo(batch(rows), exact).advantages_episode.abs().max() < 1e-8


def test_long_sessions_weigh_more_in_the_rows_mean_only() -> None:
    long = [Row("u0", "0", f"l{i}", i, 0.25) for i in range(4)]  # R = 1, four rows
    short = [Row("u0", "1", "s", 0, 0.0)]  # R = 0, one row
    ours = compute_gigpo(batch([*long, *short]), OURS).advantages_episode
    torch.testing.assert_close(ours, torch.tensor([0.5, 0.5, 0.5, 0.5, -0.5]))
    reference = compute_gigpo(batch([*long, *short]), REFERENCE).advantages_episode
    torch.testing.assert_close(reference, torch.tensor([0.2, 0.2, 0.2, 0.2, -0.8]))


def test_a_penalty_before_discounting_reaches_earlier_steps_and_after_only_its_own() -> None:
    rows = [Row("u0", "0", "a", 0, 0.0), Row("u0", "0", "b", 1, 0.0, valid=False), Row("u0", "1", "a", 0, 0.0)]
    base = OURS.model_copy(update={"gamma": 0.5, "invalid_penalty": 0.2})
    before = compute_gigpo(batch(rows), base)
    torch.testing.assert_close(before.step_returns, torch.tensor([-0.1, -0.2, 0.0]))
    torch.testing.assert_close(before.advantages_episode, torch.tensor([-0.1, -0.1, 0.1]))
    after = compute_gigpo(batch(rows), base.model_copy(update={"invalid_penalty_at": "after"}))
    torch.testing.assert_close(after.step_returns, torch.tensor([0.0, -0.2, 0.0]))
    torch.testing.assert_close(after.advantages_episode, torch.tensor([0.05, -0.15, 0.05]))


def test_leave_one_out_compares_with_the_mean_of_the_others() -> None:
    rows = [Row("u0", str(i), "a", 0, reward) for i, reward in enumerate([1.0, 0.0, 0.5])]
    expected = torch.tensor([1.0 - 0.25, 0.0 - 0.75, 0.5 - 0.5])
    torch.testing.assert_close(rloo(batch(rows)).advantages_episode, expected)
    both = compute_gigpo(batch(rows), OURS.model_copy(update={"leave_one_out": True}))
    torch.testing.assert_close(both.advantages_step, expected)


def test_reinforce_plus_plus_whitens_over_tokens() -> None:
    rows = [
        Row("u0", "0", "a", 0, 1.0, length=3),
        Row("u1", "0", "b", 0, 0.0, length=1),
        Row("u1", "1", "b", 0, 0.5, length=2),
    ]
    data = batch(rows)
    advantages = reinforce_plus_plus(data).advantages
    tokens = advantages[data.response_mask.bool()].double()
    assert tokens.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert tokens.std().item() == pytest.approx(1.0, abs=1e-6)
    assert advantages[0, 0] > advantages[2, 0] > advantages[1, 0]


def test_similar_anchors_share_a_group_only_when_asked() -> None:
    rows = [Row("u0", "0", TEXTS[1], 0, 1.0), Row("u0", "1", TEXTS[2], 0, 0.0), Row("u1", "0", TEXTS[2], 0, 0.0)]
    assert not compute_gigpo(batch(rows), OURS).advantages_step.any()
    alike = compute_gigpo(batch(rows), OURS.model_copy(update={"anchor": "similarity", "similarity_thresh": 0.9}))
    torch.testing.assert_close(alike.advantages_step, torch.tensor([0.5, -0.5, 0.0]))


def test_long_texts_that_differ_in_a_phrase_are_similar() -> None:
    """Above 200 characters difflib overlooks frequent characters, unless it is told not to."""
    graph = (
        "import workspace.ARITHMETIC.workflows.template.operator as operator\nfrom scripts.evaluator import DatasetType"
    )
    body = "answer_1 = (await self.custom(input=problem, instruction=prompt_custom.STEP_1_PROMPT))['response']"
    usage = "return answer_1, self.llm.get_usage_summary()['total_cost']"
    said = ("Be brief and confident.", "Write down each quantity and its unit.")
    texts = [f"{graph}\nclass Workflow:\n    {body}\n    {usage}\nSTEP_1_PROMPT = '{each}'" for each in said]
    rows = [Row("u0", str(place), text, 0, float(place)) for place, text in enumerate(texts)]
    similar = OURS.model_copy(update={"anchor": "similarity", "similarity_thresh": 0.93})
    assert compute_gigpo(batch(rows), similar).advantages_step.tolist() == [-0.5, 0.5]
    shortcut = similar.model_copy(update={"similarity_autojunk": True})
    assert compute_gigpo(batch(rows), shortcut).advantages_step.tolist() == [0.0, 0.0]


@examples
@given(st.lists(st.floats(-2, 2, width=16), min_size=1, max_size=70), st.sampled_from([0.0, 0.3, 0.95, 1.0]))
def test_discounted_returns_of_long_trajectories(rewards: list[float], gamma: float) -> None:
    expected: list[float] = []
    for reward in reversed(rewards):
        expected.append(reward + gamma * (expected[-1] if expected else 0.0))
    values = torch.tensor(rewards, dtype=torch.float64)
    zeros, steps = torch.zeros(len(rewards), dtype=torch.int64), torch.arange(len(rewards))
    got = discounted_returns(values, zeros, steps, gamma)
    torch.testing.assert_close(got, torch.tensor(expected[::-1], dtype=torch.float64), rtol=1e-12, atol=1e-12)


@examples
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-3, 3, width=32)), min_size=1, max_size=60))
def test_a_float32_group_mean_is_rounded_as_torch_mean_rounds_it(pairs: list[tuple[int, float]]) -> None:
    groups = torch.tensor([group for group, _ in pairs])
    values = torch.tensor([value for _, value in pairs], dtype=torch.float32)
    size, mean, std = group_statistics(values, groups)
    for group in torch.unique(groups).tolist():
        members = values[groups == group]
        assert size[group] == len(members)
        assert mean[group] == members.mean()
        assert std[group].item() == pytest.approx(members.std().item() if len(members) > 1 else 1.0, rel=1e-5, abs=1e-9)


def test_metrics_say_how_often_there_was_somebody_to_compare_with() -> None:
    rows = [Row("u0", str(i), "root", 0, float(i)) for i in range(3)] + [Row("u0", "0", "w", 1, 0.0)]
    rows += [Row("u1", str(i), "root", 0, 1.0) for i in range(2)]
    metrics = compute_gigpo(batch(rows), OURS).metrics
    assert metrics["anchor_groups"] == 3
    assert metrics["singleton_anchor_fraction"] == pytest.approx(1 / 3)
    assert metrics["singleton_row_fraction"] == pytest.approx(1 / 6)
    assert (metrics["anchor_group_size/mean"], metrics["anchor_group_size/max"]) == (2.0, 3.0)
    assert metrics["anchor_group_size/p50"] == 2.0
    assert metrics["anchor_group_size/rows_1_1"] == pytest.approx(1 / 6)
    assert metrics["anchor_group_size/rows_3_4"] == pytest.approx(3 / 6)
    assert metrics["episode_groups_without_signal"] == pytest.approx(1 / 2)


def test_a_given_episode_return_replaces_the_sum_and_must_agree_within_a_session() -> None:
    rows = [Row("u0", "0", "a", 0, 0.0), Row("u0", "0", "b", 1, 0.0), Row("u0", "1", "a", 0, 0.0)]
    result = compute_gigpo(batch(rows, [2.0, 2.0, 0.0]), OURS)
    torch.testing.assert_close(result.advantages_episode, torch.tensor([1.0, 1.0, -1.0]))
    with pytest.raises(ValueError, match="differs between rows of one trajectory"):
        compute_gigpo(batch(rows, [2.0, 1.0, 0.0]), OURS)


def test_a_repeated_row_is_refused() -> None:
    row = Row("u0", "0", "a", 0, 1.0)
    with pytest.raises(ValueError, match="repeat a step"):
        compute_gigpo(batch([row, row]), OURS)
    assert compute_gigpo(batch([row, replace(row, padding=True), replace(row, trajectory="1")]), OURS)


def test_a_reward_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        compute_gigpo(batch([Row("u0", "0", "a", 0, float("nan"))]), OURS)


def test_columns_of_different_length_are_refused() -> None:
    data = batch([Row("u0", "0", "a", 0, 1.0)])
    with pytest.raises(ValueError, match=r"rows\.anchor has 2 entries, rows\.uid has 1"):
        replace(data, anchor=["a", "b"])


def test_a_batch_without_edit_rows_gives_zeros() -> None:
    padding = Row("pad", "0", "a", 0, 1.0, padding=True)
    for rows in ([padding], [replace(padding, padding=False, kind="value")]):
        result = compute_gigpo(batch(rows), OURS)
        assert not result.advantages.any()
        assert result.metrics == {}


def test_a_misspelt_switch_is_refused() -> None:
    with pytest.raises(ValidationError, match="step_w"):
        GigpoConfig(step_w=1.0)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="mean_norm"):
        GigpoConfig(mode="mean")


def test_any_mask_type_gives_float32_advantages() -> None:
    data = batch([Row("u0", "0", "a", 0, 1.0), Row("u0", "1", "a", 0, 0.0)])
    expected = compute_gigpo(data, OURS).advantages
    for dtype in (torch.bool, torch.int32, torch.float32):
        mask = data.response_mask.to(dtype)
        kept = mask.clone()
        result = compute_gigpo(GigpoRows(**{**data.__dict__, "response_mask": mask}), OURS).advantages
        assert result.dtype == torch.float32
        assert torch.equal(result, expected)
        assert torch.equal(mask, kept)
