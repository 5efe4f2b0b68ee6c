# SPDX-License-Identifier: Apache-2.0
"""verl's keys that go with value rows; those that do not are in test_preflight.py."""

import pytest

from aflow_env.config import parse
from aflow_env.training.launch.verl_keys import check_keys
from tests.training.launch.test_preflight import composed


@pytest.mark.parametrize("correction", ["bypass_mode=true", "rollout_is=token", "rollout_rs=seq_sum_k1"])
def test_corrections_of_the_edits_update_go_with_value_rows(correction: str) -> None:
    """Value rows have left that update, and theirs takes no ratio (test_mini_batches.py)."""
    config = composed(f"++algorithm.rollout_correction.{correction}")
    check_keys(config, parse(config.aflow))
