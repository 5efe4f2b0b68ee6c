# SPDX-License-Identifier: Apache-2.0
"""Packing changes neither a model's log-probs nor its gradients, through verl's own FSDP2 engine on a CPU."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.training.verl_patches.cpu import toy
from tests.training.verl_patches.cpu.packed import LENGTHS


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests.training.verl_patches.cpu.packed` says of a toy model."""
    tmp_path = tmp_path_factory.mktemp("packed")
    toy.write(tmp_path)
    run = subprocess.run(
        [sys.executable, "-m", "tests.training.verl_patches.cpu.packed", str(tmp_path / "model")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.real
def test_packed_and_padded_log_probs_of_a_trained_model_agree(result: dict[str, Any]) -> None:
    assert result["moved"] > 0.5, "the model was not trained"
    for packed, padded, length in zip(result["packed"], result["padded"], LENGTHS, strict=True):
        assert len(packed) == length - 1
        # bf16 autocast: a log-prob has 8 bits of mantissa. Rows that saw each other would differ by whole units.
        np.testing.assert_allclose(packed, padded, rtol=0.02, atol=0.03)


@pytest.mark.real
@pytest.mark.parametrize("way", ["padded, one by one", "packed", "packed by tokens", "packed, fused loss"])
def test_gradients_do_not_depend_on_how_rows_share_a_micro_batch(result: dict[str, Any], way: str) -> None:
    """In fp32, all parameters in one vector: verl's micro-batches by tokens and its fused loss included."""
    norm, difference = result["gradients"][way]
    assert norm > 1.0
    assert difference < 1e-5 * norm
