# SPDX-License-Identifier: Apache-2.0
"""Reasons to end a search although rounds are left: AFlow's convergence, and the limits of `stop`.

All but time and the user's interrupt depend on the recorded rounds alone, so a resumed search stops at the same round.
Cost and tokens are those of the evaluations of the session's nodes, cached or not. Proposals are not in them (`budget`
limits the whole run).

Convergence: y_i is the mean of the best top_k mean scores of rounds 0..i, sigma_i = sqrt(sum of their variances) /
top_k. The search has converged once |y_i - y_{i-1}| <= z * sqrt(sigma_i^2 + sigma_{i-1}^2) for `consecutive` rounds in
a row. With AFlow's default z = 0 no new round entered the top_k for `consecutive` rounds. Rounds without a score are
absent. Of equal means the later round goes first. AFlow leaves that to numpy's unstable sort, and it matters only for
z > 0.
"""

import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node, Rejection

INTERRUPTED = "interrupted"


class ConvergenceVerdict(NamedTuple):
    """Whether the search has converged, and the first and last index (of scored rounds, from 0) without change."""

    converged: bool
    first: int | None
    last: int | None


NOT_YET = ConvergenceVerdict(False, None, None)


@dataclass
class Convergence:
    """The verdict on the rounds so far, which are recorded in order, in O(top_k) each."""

    top_k: int = 3
    z: float = 0.0
    consecutive: int = 5
    _rounds: int = 0
    _quiet: int = 0
    _top: list[tuple[float, int, float]] = field(default_factory=list)  # (-mean, -index, std), best first
    _previous: tuple[float, float] | None = None  # (y, sigma) of the round before
    _found: ConvergenceVerdict = NOT_YET

    def record(self, scores: Sequence[float]) -> ConvergenceVerdict:
        """Add the next round's scores, one or more, and return the verdict."""
        insort(self._top, (-float(np.mean(scores)), -self._rounds, float(np.std(scores))))
        del self._top[self.top_k :]
        y = float(np.mean([-mean for mean, _, _ in self._top]))
        sigma = float(np.sqrt(np.sum([std**2 for _, _, std in self._top]) / self.top_k**2))
        if self._previous is not None and not self._found.converged:
            change, noise = abs(y - self._previous[0]), float(np.sqrt(sigma**2 + self._previous[1] ** 2))
            self._quiet = self._quiet + 1 if change <= self.z * noise else 0
            if self._quiet >= self.consecutive:
                self._found = ConvergenceVerdict(True, self._rounds - self.consecutive + 1, self._rounds)
        self._previous = (y, sigma)
        self._rounds += 1
        return self.verdict

    @property
    def verdict(self) -> ConvergenceVerdict:
        """The verdict on the rounds recorded so far. It needs top_k + 1 rounds to converge."""
        return self._found if self._rounds > self.top_k else NOT_YET


@dataclass
class Stopper:
    """The rules of a config that stop a search. Its clock starts when it is made."""

    config: AflowConfig
    _began: float = field(default_factory=time.monotonic)
    _usd: float = 0.0
    _tokens: int = 0
    _rule: Convergence = field(init=False)

    def __post_init__(self) -> None:
        rule = self.config.convergence
        self._rule = Convergence(rule.top_k, consecutive=rule.consecutive_rounds or 0)

    def record(self, ended: Node | Rejection) -> None:
        """Count a round that ended. Rounds come in order."""
        if isinstance(ended, Node):
            self._usd += ended.evaluation.cost_usd
            self._tokens += ended.evaluation.input_tokens + ended.evaluation.output_tokens
            if self.config.convergence.consecutive_rounds:
                self._rule.record([ended.score])

    def why(self, tree: Tree) -> str:
        """Return the reason to begin no more rounds; "" to go on."""
        if self._rule.verdict.converged:
            return "converged"
        found = {
            "score": ("score", tree.best().score),
            "cost": ("usd", self._usd),
            "tokens": ("tokens", self._tokens),
            "time": ("seconds", time.monotonic() - self._began),
        }
        for name, (key, value) in found.items():
            limit = getattr(self.config.stop, key)
            if limit is not None and value >= limit:
                return f"{name}: stop.{key}={limit} is reached"
        return ""
