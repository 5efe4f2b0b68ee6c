# SPDX-License-Identifier: Apache-2.0
"""What a jailed child may spend, and what comes of running one."""

from dataclasses import dataclass
from typing import Literal

from aflow_env.errors import ConfigError
from aflow_env.sandbox.jail.wire import JSON

Outcome = Literal["ok", "timeout", "crash", "violation"]


@dataclass(frozen=True)
class Limits:
    """Ceilings for one jailed child and the problems in it; raises ConfigError for a value that is not positive.

    wall_seconds: per problem; the clock stands still while the parent is at work on one of the problem's calls.
    cpu_seconds: processor time of one step of a problem (between two awaits); a code or test run is told its own time.
    memory_mb: address space beyond the interpreter's own. disk_mb: size of its private directory. threads: how many.
    output_bytes: size of one message from the child (an operator call, an answer); ten times that for all operator
    calls of a problem. calls: operator calls per problem.
    """

    wall_seconds: float = 60.0
    cpu_seconds: int = 10
    memory_mb: int = 1024
    output_bytes: int = 1_000_000
    calls: int = 200
    disk_mb: int = 64
    threads: int = 64

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"sandbox limit {key}={value} must be greater than 0; set it to a positive number.")


@dataclass(frozen=True)
class Run:
    """One problem or piece of code that ran. `value` is set for `ok`, `error` (one short line) for the others."""

    outcome: Outcome
    value: JSON = None
    error: str = ""
    seconds: float = 0.0
