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
    """A run without value rows does."""
    on, without = (OmegaConf.create({"algorithm": {"rollout_correction": {key: each}}}) for each in (value, off))
    check_value_rows(without, ValueConfig())
    for q in (ValueConfig(loss_weight=0), ValueConfig(kind="none")):
        check_value_rows(on, q)
    said = rf"{KEY}\.{key}={str(value).lower()} with aflow\.q\.kind=policy: .* Set {KEY}\.{key}=(null|false), or"
    with pytest.raises(ConfigError, match=said):
        check_value_rows(on, ValueConfig())
