# SPDX-License-Identifier: Apache-2.0
"""Reasons to end a search although rounds are left. Told round by round, so a check costs the same at any size.

All but time and the user's interrupt depend on what was told alone, so a resumed search stops where one that was never
cut would. Cost and tokens are those of the evaluations of the session's nodes, cached or not; what proposals cost is
not in them (`budget.*` is the hard ceiling for all of a run).
"""

import math
import time
from dataclasses import dataclass, field

from aflow_env.config import AflowConfig
from aflow_env.evaluation.results import COUNTED, Evaluation
from aflow_env.search.convergence import Convergence
from aflow_env.search.tree import Node, Rejection, Tree

INTERRUPTED = "interrupted"


def repeat_scores(evaluation: Evaluation) -> list[float]:
    """The mean score of each repeat that counts; the one score of an evaluation whose runs are not known."""
    repeats: dict[int, list[float]] = {}
    for result in evaluation.results:
        if result.outcome in COUNTED:
            repeats.setdefault(result.repeat, []).append(result.score)
    return [math.fsum(scores) / len(scores) for scores in repeats.values()] or [evaluation.score]


@dataclass
class Stopper:
    """The stoppers of a config; the clock starts with it."""

    config: AflowConfig
    _began: float = field(default_factory=time.monotonic)
    _usd: float = 0.0
    _tokens: int = 0
    _rule: Convergence = field(init=False)

    def __post_init__(self) -> None:
        rule = self.config.convergence
        self._rule = Convergence(rule.top_k, rule.z, rule.consecutive_rounds)

    def tell(self, ended: Node | Rejection) -> None:
        """Count a round that ended; in the order of rounds."""
        if isinstance(ended, Node):
            self._usd += ended.evaluation.cost_usd
            self._tokens += ended.evaluation.input_tokens + ended.evaluation.output_tokens
            if self.config.convergence.enabled:
                # without sigmas the mean alone counts, and its sum over repeats would differ between equals by rounding
                self._rule.tell(repeat_scores(ended.evaluation) if self._rule.z else [ended.score])

    def why(self, tree: Tree) -> str:
        """Why to begin no more rounds; "" to go on."""
        stop = self.config.stop
        if self._rule.verdict.converged:
            return "converged"
        if stop.score is not None and tree.best().score >= stop.score:
            return f"score: stop.score={stop.score} is reached"
        if stop.usd is not None and self._usd >= stop.usd:
            return f"cost: stop.usd={stop.usd} is reached"
        if stop.tokens is not None and self._tokens >= stop.tokens:
            return f"tokens: stop.tokens={stop.tokens} is reached"
        if stop.seconds is not None and time.monotonic() - self._began >= stop.seconds:
            return f"time: stop.seconds={stop.seconds} have passed"
        return ""
