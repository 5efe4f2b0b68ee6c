# SPDX-License-Identifier: Apache-2.0
"""`task.options`: the few keys that every benchmark has, and the check that nobody mistypes one."""

from dataclasses import replace

from aflow_env.config import TaskConfig
from aflow_env.errors import ConfigError
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import usable_operators

COMMON = ("operators", "split_seed")


def check_options(config: TaskConfig, *own: str) -> None:
    """Raises ConfigError for a key of `task.options` that is neither common nor one of `own`."""
    for key in config.options:
        if key not in (*COMMON, *own):
            raise ConfigError(
                f"task.options.{key}={config.options[key]!r}: {config.name} has no such option; "
                f"it has {', '.join((*own, *COMMON))}."
                + (" A task of your own also needs task=own." if config.name.endswith((".yaml", ".yml")) else "")
            )
    seed = config.options.get("split_seed", 0)
    if not isinstance(seed, int):
        raise ConfigError(f"task.options.split_seed={seed!r}: give a whole number (AFlow's is 42).")


def spec_with_operators(spec: TaskSpec, config: TaskConfig) -> TaskSpec:
    """`spec`, with `task.options.operators` as the allowed operators when it is given. Raises ConfigError."""
    operators = config.options.get("operators")
    if operators is None:
        return spec
    if not isinstance(operators, list | tuple) or not operators or not all(isinstance(o, str) for o in operators):
        raise ConfigError(
            f"task.options.operators={operators!r}: give a list of operator names, e.g. [Custom,ScEnsemble]."
        )
    chosen = replace(spec, operators=tuple(operators))
    check_operators(chosen, "task.options.operators")
    return chosen


def check_operators(spec: TaskSpec, where: str) -> None:
    """Raises ConfigError for an operator that there is not, or that needs an entry point where the task gives none."""
    usable = usable_operators(replace(spec, operators=tuple(SIGNATURES)))
    for name in spec.operators:
        if name not in usable:
            raise ConfigError(f"{where}: there is no {name!r} for {spec.name}; there are {', '.join(usable)}.")
