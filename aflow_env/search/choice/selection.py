# SPDX-License-Identifier: Apache-2.0
"""Which node to expand, and which open proposal to evaluate: AFlow's soft mix. Pure functions over numpy arrays.

    P(i) = lambda/n + (1 - lambda) * softmax_i(alpha * 100 * (c_i - max c))
    c    = (1 - w) * UCB + w * Q,          UCB = clip(mean + c_ucb * sqrt(ln N / n_i), 0, 1)

`select` draws a node, i over round 1 and the best others by UCB. With c_ucb = 0 it is AFlow's selection to the last bit
of the probabilities, with the draw of `numpy.random.choice`. `choose` draws a pair of a node and a proposed edit, i
over all open pairs, where UCB is the node's and Q the pair's. It divides P(i) by the executor calls of the pair's
workflow, because two cheap edits cost no more than an expensive one and give more results.

AFlow's code has alpha=0.2, lambda=0.3; its paper has alpha=0.4, lambda=0.2. Of equals the lower round goes first, as in
AFlow's stable sort. As in AFlow `sample=1` gives two candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import NDArray

from aflow_env.config import SelectionConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """The drawn node. `rounds`, `probabilities` and `ucb` of the candidates are parallel, the best first."""

    round: int
    rounds: tuple[int, ...]
    probabilities: tuple[float, ...]
    ucb: tuple[float, ...]


@dataclass(frozen=True)
class Chosen:
    """The drawn pair's place, and the probability of each pair. `changed`: the draw with w = 0 picks another pair."""

    place: int
    probabilities: tuple[float, ...]
    changed: bool


def ucb(mean: Floats, visits: Ints, total: int, c: float) -> Floats:
    """Return UCB1 of each node (Auer et al. 2002, with constant c), clipped to [0, 1].

    `mean` are scores in [0, 1], `visits` n_i >= 1, `total` N >= 1, the sum of all visits.
    """
    bounds: Floats = np.clip(mean + c * np.sqrt(np.log(total) / visits), 0.0, 1.0)
    return bounds


def fuse(ucb: Floats, q: Floats | None, w: float) -> Floats:
    """Return c = (1 - w) * UCB + w * Q. The side of weight 0 is not read, so w = 0 needs no Q.

    Raises ValueError when w > 0 and a Q is missing (None or NaN) or not in [0, 1].
    """
    if w == 0.0:
        return ucb
    if q is None or not ((q >= 0.0) & (q <= 1.0)).all():
        raise ValueError(f"aflow.rl_weight={w} but {'no' if q is None else 'not every'} pair has a Q in [0, 1]")
    return q if w == 1.0 else (1.0 - w) * ucb + w * q


def candidates(c: Floats, sample: int, rounds: Ints | None = None) -> Ints:
    """Return the positions of round 1 and the best others by c, max(sample, 2) in all, the best first.

    Of equals the lower round goes first. `rounds` has the round of each position, by default 1, 2, ... Raises
    ValueError without round 1.
    """
    rounds = np.arange(1, len(c) + 1) if rounds is None else rounds
    order = np.lexsort((rounds, -c))
    other = rounds[order] != 1
    if len(c) - other.sum() != 1:
        raise ValueError(f"selection needs round 1 exactly once, got it {len(c) - other.sum()} times in {len(c)} nodes")
    chosen: Ints = order[~other | (np.cumsum(other) < max(sample, 2))]
    return chosen


def mixed_probabilities(c: Floats, alpha: float, lambda_: float) -> Floats:
    """Return AFlow's mix of uniform and softmax over 100 * c, c in [0, 1], with AFlow's order of operations."""
    if len(c) == 0:
        raise ValueError("selection needs at least one candidate")
    scores = c * 100
    weights = np.exp(alpha * (scores - np.max(scores)))
    mixed: Floats = lambda_ * np.full(len(c), 1.0 / len(c)) + (1 - lambda_) * (weights / np.sum(weights))
    total = float(np.sum(mixed))
    return mixed if np.isclose(total, 1.0) else mixed / total


def draw(probabilities: Floats, uniform: float) -> int:
    """Return the index that `numpy.random.choice(len(p), p=p)` gives for its draw `uniform` from [0, 1)."""
    cdf = np.cumsum(probabilities)
    return int(np.searchsorted(cdf / cdf[-1], uniform, side="right"))


def select(
    *,
    rounds: Sequence[int] | Ints,
    means: Floats,
    visits: Ints,
    config: SelectionConfig,
    rng: Generator | RandomState,
) -> Selection:
    """Draw the node to expand, by exactly one uniform draw from `rng`. Arrays are parallel, one entry a node.

    `rounds` are in any order, `means` are scores in [0, 1], `visits` are 1 + the node's expansions, with those in
    flight. Raises ValueError without round 1.
    """
    names = np.asarray(rounds, dtype=np.int64)
    bounds = ucb(means, visits, int(visits.sum()), config.c_ucb)
    uniform = float(rng.random())
    chosen = candidates(bounds, config.sample, names)
    probabilities = mixed_probabilities(bounds[chosen], config.alpha, config.lambda_)
    return Selection(
        round=int(names[chosen[draw(probabilities, uniform)]]),
        rounds=tuple(names[chosen].tolist()),
        probabilities=tuple(probabilities.tolist()),
        ucb=tuple(bounds[chosen].tolist()),
    )


def choose(*, ucb: Floats, q: Floats | None, calls: Ints, w: float, config: SelectionConfig, uniform: float) -> Chosen:
    """Draw a pair by a uniform draw from [0, 1). `ucb` (of the pair's node), `q` and `calls` have one entry a pair.

    `calls` >= 1 are the executor calls of a problem with the pair's workflow. Of pairs with equal c the earlier goes
    first. Raises ValueError without pairs, and for w > 0 without Q.
    """
    place, probabilities = _mix(fuse(ucb, q, w), calls, config, uniform)
    without_q = place if w == 0.0 else _mix(ucb, calls, config, uniform)[0]
    return Chosen(place, tuple(probabilities.tolist()), place != without_q)


def _mix(c: Floats, calls: Ints, config: SelectionConfig, uniform: float) -> tuple[int, Floats]:
    """Return the drawn place, and the probability of each."""
    order = np.argsort(-c, kind="stable")
    shares = mixed_probabilities(c[order], config.alpha, config.lambda_) / calls[order]
    back = np.empty_like(shares)
    back[order] = shares / shares.sum()
    return int(order[draw(shares, uniform)]), back
