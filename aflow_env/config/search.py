# SPDX-License-Identifier: Apache-2.0
"""Nodes of the search itself: selection, prediction, reward, end."""

from typing import Annotated, Literal

from pydantic import Field

from aflow_env.config.section import Count, CountOrZero, NonNegative, Seconds, Section, Share, Total


class SelectionConfig(Section):
    """AFlow's soft mix: P(i) = lambda/n + (1-lambda) * softmax_i(alpha * 100 * (c_i - max c))."""

    sample: Count = 4
    alpha: NonNegative = 0.2
    lambda_: Share = 0.3
    c_ucb: NonNegative = 0.0


class LookaheadConfig(Section):
    """How many proposals a round chooses among. One edit of one node is AFlow: select a node, then propose."""

    nodes: Count = 16
    edits: Count = 8

    @property
    def chooses(self) -> bool:
        """Whether a round may have more than one proposal to choose from."""
        return self.nodes > 1 or self.edits > 1


class ValueConfig(Section):
    """Q(s, a): who predicts the score of a proposed edit, and how the policy's prediction is trained."""

    kind: Literal["none", "policy", "surrogate"] = "policy"
    runs: tuple[str, ...] = ()
    fewest: Count = 40
    replay: CountOrZero = 3

    @property
    def rows(self) -> int:
        """Value rows of an expansion in training."""
        return int(self.kind == "policy" and self.replay > 0)


class RewardConfig(Section):
    """The step reward; `best_gain` sums to best score - start score."""

    kind: Literal["best_gain", "parent_gain"] = "best_gain"
    cost_weight: NonNegative = 0.0
    invalid_penalty: NonNegative = 0.1


class ConvergenceConfig(Section):
    """AFlow's early stop: the mean of the top k scores has not moved for some rounds; null: never."""

    top_k: Count = 3
    consecutive_rounds: Count | None = None


class StopConfig(Section):
    """Reasons to end a search before `rounds`; null means none."""

    score: Share | None = None
    seconds: Seconds | None = None
    usd: NonNegative | None = None
    tokens: Total | None = None


class RacingConfig(Section):
    """Give a workflow up on the way when it is surely none that selection would look at; null: never."""

    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    block: Count = 8
