# SPDX-License-Identifier: Apache-2.0
"""Nodes of the search itself: what it selects by, what it is paid for, when it ends."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aflow_env.config.section import Count, CountOrZero, NonNegative, Seconds, Section, Share, Total


class SelectionConfig(Section):
    """AFlow's soft mix: P(i) = lambda/n + (1-lambda) * softmax_i(alpha * 100 * (c_i - max c))."""

    sample: Count = 4
    alpha: NonNegative = 0.2
    lambda_: Share = 0.3
    c_ucb: NonNegative = 0.0


class ValueConfig(Section):
    """Q_theta: how the policy's prediction of a workflow's best child is asked for and trained."""

    kind: Literal["none", "digits"] = "digits"
    loss_weight: NonNegative = 0.1
    replay: CountOrZero = 0
    replay_rows: Count = 32
    replay_steps: Count = 16

    @property
    def rows(self) -> int:
        """Value rows of an expansion in training."""
        return int(self.kind == "digits" and self.loss_weight > 0)

    @model_validator(mode="after")
    def _has_rows_to_replay(self) -> "ValueConfig":
        if self.replay and not self.rows:
            raise ValueError(
                f"replay={self.replay} with kind={self.kind}, loss_weight={self.loss_weight}: there would be no value "
                "rows to replay; set kind=digits and loss_weight=0.1, or replay=0"
            )
        return self


class RewardConfig(Section):
    """The step reward; `best_gain` sums to best score - start score."""

    kind: Literal["best_gain", "parent_gain"] = "best_gain"
    cost_weight: NonNegative = 0.0
    invalid_penalty: NonNegative = 0.1


class ConvergenceConfig(Section):
    """AFlow's early stop: the mean of the top k scores has not moved, by more than noise, for some rounds."""

    enabled: bool = False
    top_k: Count = 3
    z: NonNegative = 0.0
    consecutive_rounds: Count = 5


class StopConfig(Section):
    """Reasons to end a search before `rounds`; null means none."""

    score: Share | None = None
    seconds: Seconds | None = None
    usd: NonNegative | None = None
    tokens: Total | None = None


class RacingConfig(Section):
    """Give a workflow up on the way when it is surely none that selection would look at, or surely not the best."""

    enabled: bool = False
    against: Literal["candidates", "best"] = "candidates"
    block: Count = 8
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.05
