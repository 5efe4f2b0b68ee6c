# SPDX-License-Identifier: Apache-2.0
"""Luck without a generator: draws are hashes of names, so one question has one luck in every process and order.

A part of the luck belongs to the problem alone: where it is bad, the problem is hard for every prompt. The two parts
are mixed as normal deviates, which leaves each probability exactly as it was.
"""

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Luck:
    """Named draws: `problem` is the same for every prompt about a problem, `request` for one prompt and sample."""

    problem: str
    request: str

    def happens(self, name: str, probability: float, shared: float) -> bool:
        """True with exactly `probability`; `shared` is the share of the luck that belongs to the problem."""
        ours = math.sqrt(shared) * _deviate(f"{name}/{self.problem}")
        own = math.sqrt(1 - shared) * _deviate(f"{name}/{self.request}")
        return _NORMAL.cdf(ours + own) < probability

    def pick(self, name: str, count: int, of_problem: bool = False) -> int:
        """One of `count`, evenly; the same for every prompt about the problem when `of_problem`."""
        return int(_uniform(f"{name}/{self.problem if of_problem else self.request}") * count)


def _uniform(name: str) -> float:
    """In (0, 1), a function of the name alone."""
    bits = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 12
    return (bits + 0.5) / 2**52


def _deviate(name: str) -> float:
    return _NORMAL.inv_cdf(_uniform(name))
