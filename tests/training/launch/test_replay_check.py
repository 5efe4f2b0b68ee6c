# SPDX-License-Identifier: Apache-2.0
"""A digit that nobody sampled is not weighed by how it was sampled.

What replay cannot go with is in test_preflight.py, on whole configs.
"""

import pytest
from omegaconf import OmegaConf

from aflow_env.config import ValueConfig
from aflow_env.errors import ConfigError
from aflow_env.training.launch.replay_check import check_value_rows

KEY = "algorithm.rollout_correction"


@pytest.mark.parametrize(
    ("key", "value", "off"),
    [("rollout_is", "token", None), ("rollout_rs", "seq_sum_k1", None), ("bypass_mode", True, False)],
)
def test_the_digit_that_came_true_goes_with_no_correction_for_the_rollout(key: str, value: object, off: object) -> None:
    """Draws of the policy do, and so does a run that has no value rows."""
    on, without = (OmegaConf.create({"algorithm": {"rollout_correction": {key: each}}}) for each in (value, off))
    check_value_rows(without, ValueConfig(rule="log"))
    for q in (ValueConfig(rule="quadratic"), ValueConfig(rule="log", train=False), ValueConfig(rule="log", samples=0)):
        check_value_rows(on, q)
    check_value_rows(on, ValueConfig(rule="log", kind="prior"))
    said = rf"{KEY}\.{key}={str(value).lower()} with aflow\.q\.rule=log: .* Set {KEY}\.{key}=(null|false), or"
    with pytest.raises(ConfigError, match=said):
        check_value_rows(on, ValueConfig(rule="log"))
