# SPDX-License-Identifier: Apache-2.0
"""Random batches of training rows for property tests, and ways to take them apart and put them together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st

from aflow_env.rl.gigpo import GigpoConfig
from aflow_env.rl.rows import Rows, Steps

examples = settings(max_examples=60)
WIDTH = 4
ANCHORS = ("root", "review", "ensemble", "program")


@dataclass(frozen=True)
class Row:
    uid: str
    trajectory: str
    anchor: str
    step: int
    reward: float
    edit: bool = True
    length: int = 2


def batch(rows: Sequence[Row]) -> Rows:
    lengths = torch.tensor([row.length for row in rows], dtype=torch.int64)
    return Rows(
        uid=[row.uid for row in rows],
        trajectory=[row.trajectory for row in rows],
        anchor=[row.anchor for row in rows],
        step_index=torch.tensor([row.step for row in rows], dtype=torch.int64),
        step_reward=torch.tensor([row.reward for row in rows], dtype=torch.float64),
        is_edit=torch.tensor([row.edit for row in rows], dtype=torch.bool),
        response_mask=(torch.arange(WIDTH) < lengths[:, None]).long(),
    )


def per_row(rows: Sequence[Row], estimate: Callable[[Steps], torch.Tensor]) -> torch.Tensor:
    """(N,) what a function of the steps gives each row, zero on rows that are no edits."""
    steps = Steps.of(batch(rows))
    return steps.to_rows(estimate(steps))


def advantages(rows: Sequence[Row], estimator: Callable[[Steps, Any], torch.Tensor], config: Any) -> torch.Tensor:
    """(N,) an estimator's advantages, zero on rows that are no edits."""
    return per_row(rows, lambda steps: estimator(steps, config))


rewards = st.sampled_from([0.0, 1.0, 0.25]) | st.integers(-200, 200).map(lambda hundredths: hundredths / 100)
others = st.builds(
    Row,
    uid=st.sampled_from(["u0", "pad0", "pad1"]),
    trajectory=st.just("0"),
    anchor=st.sampled_from(ANCHORS),
    step=st.integers(0, 3),
    reward=st.sampled_from([float("nan"), 7.0, -3.0]),
    edit=st.just(False),
    length=st.integers(0, WIDTH),
)
"""Value rows and padding rows."""


@st.composite
def row_lists(draw: st.DrawFn) -> list[Row]:
    """Edit rows of up to 3 uids x 4 sessions x 5 steps, shuffled, with gaps; uids share names of sessions."""
    rows: list[Row] = []
    for u in range(draw(st.integers(1, 3))):
        for t in range(draw(st.integers(1, 4))):
            steps = draw(st.sets(st.integers(0, 9), min_size=1, max_size=5))
            for place, step in enumerate(sorted(steps)):
                anchor = ANCHORS[0] if place == 0 else draw(st.sampled_from(ANCHORS))
                rows.append(Row(f"u{u}", str(t), anchor, step, draw(rewards), length=draw(st.integers(0, WIDTH))))
    return draw(st.permutations(rows))


configs = st.builds(
    GigpoConfig,
    mode=st.sampled_from(["mean_norm", "mean_std_norm"]),
    gamma=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    step_advantage_w=st.sampled_from([0.0, 0.5, 1.0]),
)


def scaled(rows: Sequence[Row], factor: float) -> list[Row]:
    return [replace(row, reward=factor * row.reward) for row in rows]
