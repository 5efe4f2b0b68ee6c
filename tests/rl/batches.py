# SPDX-License-Identifier: Apache-2.0
"""Random batches of training rows for property tests, and ways to take them apart and put them together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from hypothesis import settings
from hypothesis import strategies as st

from aflow_env.rl.gigpo import GigpoConfig, GigpoRows
from aflow_env.rl.rows import Kind

examples = settings(deadline=None, max_examples=60)
WIDTH = 4
TEXTS = (
    "class Workflow: answer directly with one call",
    "class Workflow: answer directly with one call and review it, variant A",
    "class Workflow: answer directly with one call and review it, variant B",
    "class Workflow: sample five answers, let the ensemble vote",
)


@dataclass(frozen=True)
class Row:
    uid: str
    trajectory: str
    anchor: str
    step: int
    reward: float
    valid: bool = True
    padding: bool = False
    length: int = 2
    kind: Kind = "edit"


def batch(rows: Sequence[Row], episode_return: Sequence[float] | None = None) -> GigpoRows:
    lengths = torch.tensor([row.length for row in rows], dtype=torch.int64)
    return GigpoRows(
        uid=[row.uid for row in rows],
        trajectory=[row.trajectory for row in rows],
        anchor=[row.anchor for row in rows],
        step_index=torch.tensor([row.step for row in rows], dtype=torch.int64),
        step_reward=torch.tensor([row.reward for row in rows], dtype=torch.float64),
        valid=torch.tensor([row.valid for row in rows], dtype=torch.bool),
        is_padding=torch.tensor([row.padding for row in rows], dtype=torch.bool),
        response_mask=(torch.arange(WIDTH) < lengths[:, None]).long(),
        episode_return=None if episode_return is None else torch.tensor(episode_return, dtype=torch.float64),
        kind=[row.kind for row in rows],
    )


rewards = st.sampled_from([0.0, 1.0, 0.25]) | st.integers(-200, 200).map(lambda hundredths: hundredths / 100)
paddings = st.builds(
    Row,
    uid=st.sampled_from(["u0", "pad0", "pad1"]),
    trajectory=st.just("0"),
    anchor=st.sampled_from(TEXTS),
    step=st.integers(0, 3),
    reward=st.sampled_from([float("nan"), 7.0, -3.0]),
    valid=st.booleans(),
    padding=st.just(True),
    length=st.integers(0, WIDTH),
)


@st.composite
def row_lists(draw: st.DrawFn, values: bool = True) -> list[Row]:
    """Rows of up to 3 uids x 4 sessions x 5 steps, shuffled, steps with gaps, session names shared between uids."""
    rows: list[Row] = []
    for u in range(draw(st.integers(1, 3))):
        for t in range(draw(st.integers(1, 4))):
            steps = draw(st.sets(st.integers(0, 9), min_size=1, max_size=5))
            for place, step in enumerate(sorted(steps)):
                anchor = TEXTS[0] if place == 0 else draw(st.sampled_from(TEXTS))
                length = draw(st.integers(0, WIDTH))
                rows.append(Row(f"u{u}", str(t), anchor, step, draw(rewards), draw(st.booleans()), length=length))
    if values:
        for _ in range(draw(st.integers(0, 4))):
            uid, anchor = draw(st.sampled_from(["u0", "u1"])), draw(st.sampled_from(TEXTS))
            rows.append(Row(uid, "0", anchor, 0, draw(st.floats(0, 1, width=16)), length=1, kind="value"))
    return draw(st.permutations(rows))


configs = st.builds(
    GigpoConfig,
    mode=st.sampled_from(["mean_norm", "mean_std_norm"]),
    gamma=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
    step_advantage_w=st.sampled_from([0.0, 0.5, 1.0]),
    episode_norm=st.sampled_from(["rows", "trajectories"]),
    singleton=st.sampled_from(["zero", "raw"]),
    leave_one_out=st.booleans(),
    anchor=st.sampled_from(["exact", "digest", "similarity"]),
    similarity_thresh=st.sampled_from([0.6, 0.8, 0.95]),
    similarity_order=st.just("sorted"),
    invalid_penalty=st.sampled_from([0.0, 0.1]),
    invalid_penalty_at=st.sampled_from(["before", "after"]),
)


def scaled(rows: Sequence[Row], factor: float) -> list[Row]:
    return [replace(row, reward=factor * row.reward) for row in rows]
