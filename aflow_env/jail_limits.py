# SPDX-License-Identifier: Apache-2.0
"""The limits of a jailed child. The config's `sandbox` node has the same keys and defaults."""

from dataclasses import dataclass

from aflow_env.errors import ConfigError


@dataclass(frozen=True)
class JailLimits:
    """Limits of one jailed child and the problems in it. Raises ConfigError unless each is positive.

    wall_seconds: of a problem, without the time of its operator calls. cpu_seconds: processor time between two awaits
    of a problem; a code or test run has its own limit. memory_mb: address space beyond the interpreter's own. disk_mb:
    size of the private directory. output_bytes: size of one message from the child, and a tenth of the size of all
    operator calls of a problem. calls: operator calls of a problem.
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
