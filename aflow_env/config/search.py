# SPDX-License-Identifier: Apache-2.0
"""Nodes of the search (selection, prediction, reward, end) and around it (problems, sandbox, budget)."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from aflow_env.config.section import MANY, Count, CountOrZero, NonNegative, Place, Seconds, Section, Share, Total
from aflow_env.jail_limits import JailLimits


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
    training: bool = False

    @property
    def chooses(self) -> bool:
        """Whether a round may have more than one proposal to choose from."""
        return self.nodes > 1 or self.edits > 1


class ValueConfig(Section):
    """Q(s, a): the predictor of a proposed edit's score, and the training of the policy's prediction."""

    kind: Literal["none", "policy", "surrogate"] = "policy"
    runs: tuple[str, ...] = ()
    fewest: Count = 40
    replay: CountOrZero = 3
    replay_rows: Count = 32

    @property
    def rows(self) -> int:
        """Value rows of an expansion in training."""
        return int(self.kind == "policy" and self.replay > 0)


class RewardConfig(Section):
    """The step reward. `best_gain` sums to best score - start score."""

    kind: Literal["best_gain", "parent_gain"] = "best_gain"
    cost_weight: NonNegative = 0.0
    invalid_penalty: NonNegative = 0.1


class ConvergenceConfig(Section):
    """AFlow's early stop: the mean of the top k scores has not moved for some rounds. Null means never."""

    top_k: Count = 3
    consecutive_rounds: Count | None = None


class StopConfig(Section):
    """Reasons to end a search before `rounds`. Null means none."""

    score: Share | None = None
    seconds: Seconds | None = None
    usd: NonNegative | None = None
    tokens: Total | None = None


class RacingConfig(Section):
    """Give a workflow up on the way when it is surely none that selection would look at. Null means never."""

    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    block: Count = 8


class TaskConfig(Section):
    """The benchmark, and the place of its problems."""

    name: str
    path: Place | None = None
    table: Place | None = None
    train_size: CountOrZero = 0
    validate_size: Count = 20
    test_size: CountOrZero = 40
    options: dict[str, Any] = Field(default_factory=dict)
    instructions: tuple[str, ...] = ()

    @field_validator("options")
    @classmethod
    def _given(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Drop options that are null."""
        return {name: value for name, value in options.items() if value is not None}


class SandboxConfig(Section):
    """The sandbox of generated code."""

    mode: Literal["auto", "strict", "off"] = "auto"
    workers: Count = 2
    wall_seconds: Seconds = JailLimits.wall_seconds
    cpu_seconds: Count = JailLimits.cpu_seconds
    memory_mb: Annotated[int, Field(ge=64, le=MANY)] = JailLimits.memory_mb
    output_bytes: Annotated[int, Field(ge=1024, le=1024 * MANY)] = JailLimits.output_bytes
    calls: Count = JailLimits.calls
    disk_mb: Count = JailLimits.disk_mb
    threads: Count = JailLimits.threads

    @property
    def limits(self) -> JailLimits:
        """The limits of one child."""
        return JailLimits(**self.model_dump(exclude={"mode", "workers"}))


class BudgetConfig(Section):
    """Ceilings for the whole run. Null means none."""

    usd: NonNegative | None = None
    tokens: Total | None = None
    calls: Total | None = None


class ProblemsConfig(Section):
    """The search problems that become rows of the data sets: (task, seed, start workflow)."""

    train: Count = 64
    validate_: Annotated[Count, Field(alias="validate")] = 2
    start: Place = "default"
