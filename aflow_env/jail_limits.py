# SPDX-License-Identifier: Apache-2.0
"""The limits of a jailed child. The config's `sandbox` node has the same keys and takes its defaults from here."""

from dataclasses import dataclass

from aflow_env.errors import ConfigError


@dataclass(frozen=True)
class JailLimits:
    """Limits of one jailed child and the problems in it; raises ConfigError for a value that is not positive.

    wall_seconds: of a problem, without the time of its operator calls. cpu_seconds: processor time of one step of a
    problem (between two awaits); a code or test run has its own time. memory_mb: address space beyond the interpreter's
    own. disk_mb: size of the private directory. output_bytes: size of one message from the child (an operator call, an
    answer); ten times that for all operator calls of a problem. calls: operator calls of a problem.
    """

    wall_seconds: float = 60.0
    cpu_seconds: int = 30
    memory_mb: int = 512
    output_bytes: int = 262_144
    calls: int = 64
    disk_mb: int = 64
    threads: int = 64

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"sandbox limit {key}={value} must be greater than 0; set it to a positive number.")
