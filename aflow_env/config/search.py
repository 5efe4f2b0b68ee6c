# SPDX-License-Identifier: Apache-2.0
"""Nodes of the search itself: what it selects by, what it is paid for, when it ends."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aflow_env.config.section import Count, CountOrZero, NonNegative, Place, Seconds, Section, Share, Total


class SelectionConfig(Section):
    """AFlow's soft mix: P(i) = lambda/n + (1-lambda) * softmax_i(alpha * 100 * (c_i - max c))."""

    sample: Count = 4
    alpha: NonNegative = 0.2
    lambda_: Share = 0.3
    c_ucb: NonNegative = 0.0


class WideningConfig(Section):
    """Progressive widening: a node may get another child while it has fewer than c * N^alpha."""

    enabled: bool = False
    c: Annotated[float, Field(gt=0)] = 1.0
    alpha: Share = 0.5


class ValueConfig(Section):
    """Q_theta: how the policy's belief about a workflow's best child is asked for, trained and shrunk."""

    kind: Literal["none", "digits", "prior", "critic"] = "digits"
    prior_strength: NonNegative = 4.0
    rule: Literal["quadratic", "log"] = "quadratic"
    samples: CountOrZero = 1
    train: bool = True
    loss_weight: Annotated[float, Field(gt=0)] = 1.0
    replay: CountOrZero = 0
    replay_rows: Count = 32
    replay_steps: Count = 16
    calibrate: bool = False
    memory: CountOrZero = 0
    memory_run: Place | None = None
    count_rejected: bool = False

    @model_validator(mode="after")
    def _can_be_had(self) -> "ValueConfig":
        if self.kind == "critic":
            raise ValueError(
                "kind=critic: verl 0.9.1 keeps its critic inside the trainer, where it values the finished rows of a "
                "batch; a search that is still going on has no way to ask it. Set kind=digits or kind=prior"
            )
        if self.memory and self.kind == "none":
            raise ValueError(f"memory={self.memory} with kind=none: there is no Q to inform; set kind=digits")
        if self.count_rejected and self.kind == "none":
            raise ValueError("count_rejected=true with kind=none: there is no Q to count them in; set kind=digits")
        if self.memory_run is not None and not self.memory:
            raise ValueError(f"memory_run={self.memory_run} with memory=0: nothing of it would be read; set memory=8")
        if self.replay and (self.kind != "digits" or not self.train or not self.samples):
            raise ValueError(
                f"replay={self.replay} with kind={self.kind}, train={str(self.train).lower()}, samples={self.samples}: "
                "there would be no value rows to replay; set kind=digits, train=true and samples=1, or replay=0"
            )
        if self.replay and self.rule != "log":
            raise ValueError(
                f"replay={self.replay} with rule={self.rule}: its digits are draws of the policy of their step, and "
                "teach no later one; set rule=log, or replay=0"
            )
        if self.calibrate and self.kind != "digits":
            raise ValueError(f"calibrate=true with kind={self.kind}: a temperature belongs to digits; set kind=digits")
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
