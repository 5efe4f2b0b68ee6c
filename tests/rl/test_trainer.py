# SPDX-License-Identifier: Apache-2.0
"""What the trainer changes of verl's own set-up, seen on verl's own classes."""

import pytest

pytest.importorskip("verl", reason="needs verl")
import verl.trainer.main_ppo  # noqa: F401  verl first: its registries load ours
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from aflow_env.rl.trainer import POLL_SECONDS, AflowTrainerSync
from tests.rl.test_preflight import composed


class OwnSampler(ReplayBuffer):
    """A user's, by `trainer.v1.sampler.custom_sampler`."""


def buffer(*overrides: str) -> ReplayBuffer:
    """The buffer that a trainer of this config samples its steps from."""
    trainer = object.__new__(AflowTrainerSync)
    trainer.config = composed(*overrides)
    built: ReplayBuffer = trainer._build_replay_buffer()
    return built


def test_a_step_does_not_wait_two_seconds_for_sessions_that_have_ended() -> None:
    built = buffer()
    assert type(built) is ReplayBuffer
    assert built.poll_interval == POLL_SECONDS < 1


def test_a_samplers_own_pace_is_left_alone() -> None:
    own = "trainer.v1.sampler.custom_sampler"
    built = buffer(f"{own}.path=pkg://{__name__}", f"{own}.name=OwnSampler")
    assert type(built).__name__ == "OwnSampler"
    assert built.poll_interval == 2.0
