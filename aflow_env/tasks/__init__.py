# SPDX-License-Identifier: Apache-2.0
"""Benchmarks. `load_task` makes a Task from the `task:` node of the config."""

from collections.abc import Callable

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.tasks.benchmarks.humaneval_mbpp import humaneval, mbpp
from aflow_env.tasks.benchmarks.livecodebench import livecodebench
from aflow_env.tasks.benchmarks.math import aime, math
from aflow_env.tasks.benchmarks.short_answers import drop, gsm8k, hotpotqa
from aflow_env.tasks.own import is_own, own_task
from aflow_env.tasks.problem import CodeRun, Problem, RunTests, Score, Split, Task
from aflow_env.tasks.table import table_task

__all__ = ["TASKS", "CodeRun", "Problem", "RunTests", "Score", "Split", "Task", "load_task"]

TASKS: dict[str, Callable[[TaskConfig], Task]] = {
    "arithmetic": Arithmetic,
    "gsm8k": gsm8k,
    "math": math,
    "aime": aime,
    "humaneval": humaneval,
    "mbpp": mbpp,
    "livecodebench": livecodebench,
    "hotpotqa": hotpotqa,
    "drop": drop,
}


def load_task(config: TaskConfig) -> Task:
    """Return the task of `task.name`, or of `task.table`. Raises ConfigError."""
    if config.table:
        return table_task(config, load_task(config.model_copy(update={"table": None})).spec)
    if config.name in TASKS:
        return TASKS[config.name](config)
    if is_own(config.name):
        return own_task(config)
    raise ConfigError(
        f"task.name={config.name!r}: there is no such task; there are {', '.join(TASKS)}. "
        "Your own task is a file NAME.yaml or a class module:Class (docs/tasks.md)."
    )
