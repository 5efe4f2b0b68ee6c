# SPDX-License-Identifier: Apache-2.0
"""The bridge between verl's estimator call and GiGPO: verl's own registry, verl's own call convention."""

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.rl.baseline_estimators import HgpoConfig
from aflow_env.rl.gigpo import GigpoConfig, gigpo
from aflow_env.rl.rows import Steps
from aflow_env.training.trainer.estimators import (
    ESTIMATORS,
    OnlineRows,
    check_switches,
    kl_penalty,
    rows_of_step,
    switches,
    to_rows,
    verl_name,
)

CONFIG = OmegaConf.create({"gamma": 0.9, "gigpo": {"step_advantage_w": 0.5}, "hgpo": {}})


def row(reward: float, step: int, anchor: str = "root", kind: str = "edit", **more: Any) -> dict[str, Any]:
    return {
        "step_reward": reward,
        "step_index": step,
        "anchor": anchor,
        "kind": kind,
        **more,
    }


def batch() -> tuple[OnlineRows, torch.Tensor, torch.Tensor, np.ndarray[Any, Any]]:
    """Two sessions of two rounds and one padding row; verl's tensors as verl makes them."""
    fields = [row(0.5, 0), row(0.0, 1, "a"), row(0.0, 0), row(0.25, 1, "b"), row(7.0, 0)]
    sessions = ["u_0", "u_0", "u_1", "u_1", "pad_0"]
    online = OnlineRows(sessions, fields, [False] * 4 + [True])
    returns = torch.tensor([0.5, 0.5, 0.25, 0.25, 0.0])
    mask = torch.ones(5, 3)
    mask[4] = 0
    rewards = torch.zeros(5, 3)
    rewards[:, -1] = returns
    return online, rewards, mask, np.array(["u"] * 4 + ["pad"], dtype=object)


@pytest.fixture(scope="module")
def registered() -> Any:
    """verl's registry after verl loaded the plugin; nothing is registered by hand."""
    pytest.importorskip("verl", reason="needs verl")
    from verl.trainer.ppo import core_algos

    return core_algos


def test_verls_estimator_is_gigpo_on_these_rows(registered: Any) -> None:
    """The registered function gives each edit row GiGPO's advantage."""
    online, rewards, mask, uid = batch()
    with rows_of_step(online):
        advantages, returns = registered.get_adv_estimator_fn("gigpo")(
            token_level_rewards=rewards, response_mask=mask, index=uid, config=CONFIG
        )
    steps = Steps.of(to_rows(online, rewards, mask, uid.tolist()))
    expected = steps.to_rows(gigpo(steps, GigpoConfig(gamma=0.9, step_advantage_w=0.5)))
    assert torch.equal(advantages[:4], expected[:4, None] * mask[:4])
    assert torch.equal(returns, advantages)
    assert advantages[:4].abs().sum() > 0
    assert advantages[4].abs().sum() == 0, "padding rows get nothing"
    assert "aflow/singleton_anchor_fraction" in online.metrics


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_every_estimator_runs_through_verls_own_function(registered: Any, name: str) -> None:
    """verl's `compute_advantage_for_multi_trajectories` on a DataProto, as its trainer calls it; a session of the group
    is missing because it failed, and the others are still compared."""
    from tensordict import TensorDict
    from verl.protocol import DataProto
    from verl.trainer.ppo.v1.utils import compute_advantage_for_multi_trajectories

    online, rewards, mask, uid = batch()
    tensors = TensorDict({"token_level_rewards": rewards, "response_mask": mask}, batch_size=len(uid))
    data = DataProto(batch=tensors, non_tensor_batch={"uid": uid})
    keys = [f"{session}_{index}" for index, session in enumerate(online.sessions)]
    with rows_of_step(online):
        done = compute_advantage_for_multi_trajectories(data, keys, verl_name(name), num_repeat=4, config=CONFIG)
    advantages = done.batch["advantages"]
    assert advantages.shape == mask.shape
    assert advantages[:4].abs().sum() > 0
    assert advantages[4].abs().sum() == 0, "padding rows get nothing"
    if name == "grpo":
        assert advantages[:4, 0].tolist() == pytest.approx([0.125, 0.125, -0.125, -0.125])


def test_a_failed_session_is_left_out_and_its_group_goes_on(registered: Any) -> None:
    """verl lets the other sessions of the group end, and its synchronous buffer samples what they brought."""
    from verl.trainer.ppo.v1.agent_loop_tq import _settle_session_tasks
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    ended: list[str] = []

    async def session(name: str, fails: bool) -> None:
        await asyncio.sleep(0.0 if fails else 0.01)
        if fails:
            raise InfrastructureError("the executor is gone")
        ended.append(name)

    async def group() -> list[BaseException]:
        return await _settle_session_tasks([asyncio.create_task(session(str(n), fails=n == 0)) for n in range(3)])

    assert [type(error) for error in asyncio.run(group())] == [InfrastructureError]
    assert ended == ["1", "2"]
    buffer = ReplayBuffer("sync", OmegaConf.create({}), 1, "drop", OmegaConf.create({}))
    buffer.finished_keys["train"], buffer.failure_keys["train"] = {"whole"}, {"lost-one"}
    buffer.partitions["train"] = {"whole_0_0": {}, "whole_1_0": {}, "lost-one_1_0": {}}
    reasons = buffer._terminal_eviction_reasons(1, "train")
    assert buffer._sampleable_terminal_keys("train", reasons) == {"whole", "lost-one"}


@pytest.mark.parametrize("name", ["gigpo", "hgpo"])
def test_without_our_trainer_it_refuses_instead_of_being_grpo(registered: Any, name: str) -> None:
    """Without the rows' fields there are no anchors, and the error names the trainer that fetches them."""
    _, rewards, mask, uid = batch()
    with pytest.raises(RuntimeError, match="trainer_mode=aflow_sync"):
        registered.get_adv_estimator_fn(name)(token_level_rewards=rewards, response_mask=mask, index=uid, config=CONFIG)


def test_an_unknown_gigpo_key_is_an_error(registered: Any) -> None:
    """A misspelt switch is named with its key also where verl calls the estimator."""
    online, rewards, mask, uid = batch()
    config = OmegaConf.create({"gamma": 1.0, "gigpo": {"step_weight": 1.0}})
    with rows_of_step(online), pytest.raises(ConfigError, match=r"algorithm\.gigpo\.step_weight"):
        registered.get_adv_estimator_fn("gigpo")(
            token_level_rewards=rewards, response_mask=mask, index=uid, config=config
        )


def test_each_estimator_reads_its_own_node_and_verls_gamma() -> None:
    """The type of the switches goes by the estimator's name."""
    nodes = {"gigpo": {"mode": "mean_std_norm"}, "hgpo": {"mode": "${gigpo.mode}", "history_length": 1}}
    config = OmegaConf.create({"adv_estimator": "gigpo", "gamma": 0.9, **nodes})
    check_switches(config)
    assert switches(config, "gigpo") == GigpoConfig(gamma=0.9, mode="mean_std_norm")
    assert switches(config, "hgpo") == HgpoConfig(gamma=0.9, mode="mean_std_norm", history_length=1)
    assert switches(config, "rloo").model_dump() == {}
    for name, estimator in ESTIMATORS.items():
        assert type(switches(config, name)) is estimator.config


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"adv_estimator": "ppo"},
            "algorithm.adv_estimator=ppo: there is no such estimator; choose one of gigpo, hgpo",
        ),
        ({"gigpo": {"history_length": 1}}, "algorithm.gigpo.history_length=1: there is no such key"),
        ({"rloo": {"mode": "mean_norm"}}, "algorithm.rloo.mode='mean_norm': there is no such key"),
        ({"hgpo": {"gamma": 0.5}}, "algorithm.hgpo.gamma=0.5: the discount is verl's own key"),
        ({"gamma": 1.5}, "algorithm.gamma=1.5"),
    ],
)
def test_a_wrong_switch_is_named_also_where_another_estimator_is_chosen(changed: dict[str, Any], said: str) -> None:
    """One paragraph names the key and the value."""
    config = OmegaConf.create({"adv_estimator": "gigpo", "gamma": 0.9, **changed})
    with pytest.raises(ConfigError) as caught:
        check_switches(config)
    assert str(caught.value).startswith(said)


def test_kl_in_reward_becomes_a_penalty_of_its_own_row() -> None:
    """Without a penalty there is none; with one, only the penalised row loses it."""
    online, rewards, _, _ = batch()
    assert torch.equal(kl_penalty(online, rewards), torch.zeros(5))
    rewards[1, 0] -= 0.125
    assert kl_penalty(online, rewards).tolist() == pytest.approx([0, -0.125, 0, 0, 0])
