# SPDX-License-Identifier: Apache-2.0
"""verl-agent's GiGPO, rounding and quirks included, for comparison with recordings of its outputs.

Written from a description of its behaviour (docs/algorithm.md lists the differences to ours), one row at a time, on
float32 tensors, because parity needs `torch.mean`'s own rounding.
"""

import difflib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReferenceRow:
    """A row as the reference sees it; rows come in chronological order within a trajectory."""

    uid: str
    trajectory: str
    anchor: str
    reward: float
    valid: bool = True


def reference_gigpo(
    rows: Sequence[ReferenceRow],
    gamma: float = 1.0,
    mode: str = "mean_norm",
    step_advantage_w: float = 1.0,
    similarity: float | None = None,
    invalid_penalty: float = 0.1,
) -> tuple[Tensor, Tensor, Tensor]:
    """(N,) step returns, advantages and their episode part.

    `similarity`: anchors that resemble each other so much by difflib's ratio share a group; None: equal anchors do.
    The penalty of an invalid row is taken off its own score and its own step return, after discounting.
    """
    penalty = torch.tensor([0.0 if row.valid else invalid_penalty for row in rows])
    returns = torch.tensor(discounted(rows, gamma)) - penalty
    totals: dict[str, float] = defaultdict(float)
    for row in rows:
        totals[row.trajectory] += row.reward
    scores = torch.tensor([totals[row.trajectory] for row in rows]) - penalty
    episode = normalised(scores, [row.uid for row in rows], mode, alone=scores)
    anchored = rows if similarity is None else clustered(rows, similarity)
    step = normalised(returns, [(row.uid, row.anchor) for row in anchored], mode, alone=torch.zeros_like(returns))
    return returns, episode + step_advantage_w * step, episode


def discounted(rows: Sequence[ReferenceRow], gamma: float) -> list[float]:
    """G_t = r_t + gamma * G_{t+1} within each trajectory."""
    following: dict[str, float] = defaultdict(float)
    returns: list[float] = []
    for row in reversed(rows):
        following[row.trajectory] = row.reward + gamma * following[row.trajectory]
        returns.append(following[row.trajectory])
    return returns[::-1]


def normalised(values: Tensor, keys: Iterable[Hashable], mode: str, alone: Tensor) -> Tensor:
    """Each value against mean and deviation (n - 1) of the rows with its key; a row without company gets `alone`.

    The deviation of a single row is 1.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        groups[key].append(place)
    result = alone / (1 + 1e-6) if mode == "mean_std_norm" else alone.clone()
    for places in groups.values():
        if len(places) > 1:
            members = values[places]
            centred = members - members.mean()
            result[places] = centred / (members.std() + 1e-6) if mode == "mean_std_norm" else centred
    return result


def clustered(rows: Sequence[ReferenceRow], threshold: float) -> list[ReferenceRow]:
    """The rows with their anchors replaced by those of the first row, in batch order, that they resemble."""
    founders: dict[str, list[str]] = defaultdict(list)
    found = []
    for row in rows:
        known = founders[row.uid]
        alike = (each for each in known if difflib.SequenceMatcher(None, row.anchor, each).ratio() >= threshold)
        if (founder := next(alike, None)) is None:
            founder = row.anchor
            known.append(founder)
        found.append(replace(row, anchor=founder))
    return found
