# SPDX-License-Identifier: Apache-2.0
"""verl's keys that value rows cannot go with; other keys are in test_preflight.py, on whole configs."""

import pytest
from omegaconf import DictConfig

from aflow_env.config import ValueConfig
from aflow_env.errors import ConfigError
from aflow_env.training.launch.verl_keys import check_value_rows
from tests.training.launch.test_preflight import composed


def correcting(key: str, value: object) -> DictConfig:
    return composed(f"++algorithm.rollout_correction.{key}={str(value).lower()}")


def test_value_rows_are_refused_where_ratios_are_to_the_rollout() -> None:
    """A run without value rows may take them."""
    on = correcting("bypass_mode", True)
    for q in (ValueConfig(replay=0), ValueConfig(kind="none")):
        check_value_rows(on, q)
    with pytest.raises(ConfigError, match=r"bypass_mode=true with aflow\.q\.kind=policy: .* Set .*=false, or"):
        check_value_rows(on, ValueConfig())


@pytest.mark.parametrize(
    ("key", "value"), [("bypass_mode", False), ("rollout_is", "token"), ("rollout_rs", "seq_sum_k1")]
)
def test_corrections_of_the_edits_update_go_with_value_rows(key: str, value: object) -> None:
    """Value rows have left that update."""
    check_value_rows(correcting(key, value), ValueConfig())
