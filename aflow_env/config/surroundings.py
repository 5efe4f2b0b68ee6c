# SPDX-License-Identifier: Apache-2.0
"""Nodes around the search: its problems, the sandbox, the budget."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from aflow_env.config.section import MANY, Count, CountOrZero, NonNegative, Place, Seconds, Section, Total


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
    wall_seconds: Seconds = 60.0
    cpu_seconds: Count = 30
    memory_mb: Annotated[int, Field(ge=64, le=MANY)] = 512
    output_bytes: Annotated[int, Field(ge=1024, le=1024 * MANY)] = 262_144
    calls: Count = 64
    disk_mb: Count = 64
    threads: Count = 64


class BudgetConfig(Section):
    """Ceilings for the whole run; null means none."""

    usd: NonNegative | None = None
    tokens: Total | None = None
    calls: Total | None = None


class ProblemsConfig(Section):
    """The search problems that become rows of the data sets: (task, seed, start workflow)."""

    train: Count = 64
    validate_: Annotated[Count, Field(alias="validate")] = 2
    start: Place = "default"
