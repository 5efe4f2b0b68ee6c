# SPDX-License-Identifier: Apache-2.0
"""Removing padding does not change a trained model's log-probs, through verl's own FSDP2 engine on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.verl_cpu import toy
from tests.verl_cpu.packed import LENGTHS


@pytest.mark.real
def test_packed_and_padded_log_probs_of_a_trained_model_agree(tmp_path: Path) -> None:
    toy.write(tmp_path)
    run = subprocess.run(
        [sys.executable, "-m", "tests.verl_cpu.packed", str(tmp_path / "model")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["moved"] > 0.5, "the model was not trained"
    for packed, padded, length in zip(result["packed"], result["padded"], LENGTHS, strict=True):
        assert len(packed) == length - 1
        # bf16 autocast: a log-prob has 8 bits of mantissa. Rows that saw each other would differ by whole units.
        np.testing.assert_allclose(packed, padded, rtol=0.02, atol=0.03)
