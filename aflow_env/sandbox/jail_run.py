# SPDX-License-Identifier: Apache-2.0
"""The result of running something in a jailed child."""

from dataclasses import dataclass
from typing import Literal

from aflow_env.jail_limits import JailLimits
from aflow_env.sandbox.jail.wire import JSON

__all__ = ["JailLimits", "JailRun", "Outcome"]
Outcome = Literal["ok", "timeout", "crash", "violation"]


@dataclass(frozen=True)
class JailRun:
    """The result of one problem or piece of code: `value` for `ok`, else `error` (one short line)."""

    outcome: Outcome
    value: JSON = None
    error: str = ""
    seconds: float = 0.0
