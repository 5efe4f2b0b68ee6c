# SPDX-License-Identifier: Apache-2.0
"""The digits' temperature: fitted on earlier steps alone, kept in the store, and never part of what is trained."""

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from aflow_env.search.belief import expected_value
from aflow_env.store.store import Store
from aflow_env.training.rollout.calibration import FEWEST, Held, keep, proofs, recall, temperature


def held(seed: int, count: int, temperature: float) -> list[Held]:
    """Beliefs whose targets are what the digits say at this temperature."""
    logits = np.random.default_rng(seed).normal(size=(count, 10)) * 3
    targets = expected_value(logits, temperature)
    return [
        Held("digest", 0.5, float(expected_value(digits)), 1.0, float(target), tuple(digits))
        for digits, target in zip(logits, targets, strict=True)
    ]


async def test_a_step_reads_the_steps_before_it_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path / "run.sqlite")
    await keep(store, 1, held(0, 40, 2.5))
    await keep(store, 2, held(1, 40, 0.3))
    assert temperature(await recall(store, 1)) == 1.0
    assert temperature(await recall(store, 2)) == pytest.approx(2.5, rel=1e-3)
    assert await recall(store, 2) == [held(0, 40, 2.5)]
    assert await recall(store, 3, sessions=1) == [held(1, 40, 0.3)], "the latest"
    store.close()
    again = Store(tmp_path / "run.sqlite")
    assert temperature(await recall(again, 2)) == pytest.approx(2.5, rel=1e-3), "after a restart"


async def test_few_beliefs_and_beliefs_without_digits_leave_the_temperature_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "run.sqlite")
    await keep(store, 1, held(0, FEWEST - 1, 2.5))
    await keep(store, 1, [Held("digest", 0.5, 0.5, 1.0, math.sqrt(0.5), ())] * FEWEST)
    assert temperature(await recall(store, 2)) == 1.0


async def test_how_q_steered_survives_the_store_and_runs_that_did_not_note_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "run.sqlite")
    plain = held(0, 2, 1.0)
    await keep(store, 1, [replace(plain[0], q=0.25, came=0.5), replace(plain[1], q=0.75)])
    store.event("beliefs", {"step": 1, "held": [{**asdict(plain[0]), "digits": []}]})
    found = await recall(store, 2)
    assert proofs(found) == (((0.25, 0.5),), ()), "session by session; what came to no child proves nothing"
