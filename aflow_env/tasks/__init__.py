# SPDX-License-Identifier: Apache-2.0
"""Benchmarks. `load_task` is the only door: from the `task:` node of the config to a Task."""

from collections.abc import Callable

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks.aime import aime
from aflow_env.tasks.arithmetic import Arithmetic
from aflow_env.tasks.base import CodeRun, Problem, RunTests, Score, Split, Task
from aflow_env.tasks.drop import drop
from aflow_env.tasks.gsm8k import gsm8k
from aflow_env.tasks.hotpotqa import hotpotqa
from aflow_env.tasks.humaneval import humaneval
from aflow_env.tasks.math import math
from aflow_env.tasks.mbpp import mbpp

__all__ = ["TASKS", "CodeRun", "Problem", "RunTests", "Score", "Split", "Task", "load_task"]

TASKS: dict[str, Callable[[TaskConfig], Task]] = {
    "arithmetic": Arithmetic,
    "gsm8k": gsm8k,
    "math": math,
    "aime": aime,
    "humaneval": humaneval,
    "mbpp": mbpp,
    "hotpotqa": hotpotqa,
    "drop": drop,
}


def load_task(config: TaskConfig) -> Task:
    """The benchmark that `task.name` names. Raises ConfigError for an unknown name or option."""
    if config.name in TASKS:
        return TASKS[config.name](config)
    raise ConfigError(f"task.name={config.name!r}: there is no such task; there are {', '.join(TASKS)}.")
