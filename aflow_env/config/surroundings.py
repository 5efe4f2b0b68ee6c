# SPDX-License-Identifier: Apache-2.0
"""Nodes around the search: its problems, the sandbox, the budget."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from aflow_env.config.base import Count, Section

MOST = 1e15
"""The largest ceiling, of any unit."""


class TaskConfig(Section):
    """Which benchmark, and where its problems are."""

    name: str
    path: str | None = None
    train_size: Annotated[int, Field(ge=0)] = 0
    validate_size: Count = 20
    test_size: Annotated[int, Field(ge=0)] = 40
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _given(cls, options: dict[str, Any]) -> dict[str, Any]:
        """An option that is null is one that is not given."""
        return {name: value for name, value in options.items() if value is not None}


class SandboxConfig(Section):
    """Where generated code runs."""

    mode: Literal["auto", "strict", "off"] = "auto"
    workers: Count = 2
    wall_seconds: Annotated[float, Field(gt=0)] = 60.0
    cpu_seconds: Count = 30
    memory_mb: Annotated[int, Field(ge=64)] = 512
    output_bytes: Annotated[int, Field(ge=1024)] = 262_144
    calls: Count = 64
    disk_mb: Count = 64
    threads: Count = 64


class BudgetConfig(Section):
    """Ceilings for the whole run; null means none."""

    usd: Annotated[float, Field(ge=0)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None

    @field_validator("usd", "tokens", "calls")
    @classmethod
    def _is_a_ceiling(cls, most: float | None) -> float | None:
        if most is not None and not most <= MOST:
            raise ValueError(f"{most} is no ceiling: set at most {MOST:g}, or null for none")
        return most


class ProblemsConfig(Section):
    """The search problems that become rows of the data sets: (task, seed, start workflow)."""

    train: Count = 64
    validate_: Annotated[int, Field(ge=1, alias="validate")] = 2
    start: str = "default"
