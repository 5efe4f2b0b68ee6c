# SPDX-License-Identifier: Apache-2.0
"""Two FSDP2 ranks over gloo have one gradient, that of one rank with all the rows, and end with the same parameters."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.verl_patches.cpu import toy

pytest.importorskip("verl", reason="needs verl: make setup")
import torch


@pytest.mark.real
def test_two_ranks_have_the_gradient_of_one_and_the_same_parameters(tmp_path: Path) -> None:
    toy.write(tmp_path)
    runs = {
        (rank, world): subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.training.verl_patches.cpu.ranks",
                *map(str, (tmp_path / "model", tmp_path, rank, world)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, world in ((0, 2), (1, 2), (0, 1))
    }
    gathered = {}
    try:
        for (rank, world), run in runs.items():
            said, _ = run.communicate(timeout=240)
            assert run.returncode == 0, said[-3000:]
            gathered[rank, world] = torch.load(tmp_path / f"{rank}-of-{world}.pt")
    finally:
        for run in runs.values():
            run.kill()  # a rank whose peer failed waits for it
            run.wait()
    one, first, second = gathered[0, 1], gathered[0, 2], gathered[1, 2]
    assert torch.equal(first["parameters"], second["parameters"]), "the ranks differ"
    assert torch.equal(first["gradient"], second["gradient"])
    for name in ("gradient", "parameters"):
        assert (first[name] - one[name]).norm() < 1e-4 * one[name].norm(), name
    assert one["gradient"].norm() > 1
