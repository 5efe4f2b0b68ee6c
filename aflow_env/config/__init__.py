# SPDX-License-Identifier: Apache-2.0
"""The typed schema of the `aflow:` node: every key that a user may set, its type and its range.

The YAML files under conf/aflow document each key and have the defaults. This package defines the legal values.
Unknown keys are errors. `python -m verl.trainer.main_ppo` reads the node as `aflow.*`, `aflow-env` at the root.
"""

from aflow_env.config.nodes import (
    BudgetConfig,
    ImplementerConfig,
    LLMConfig,
    RewardConfig,
    SelectionConfig,
    TaskConfig,
    ValueConfig,
)
from aflow_env.config.root import AflowConfig, config_directory, explain, parse, plain, read_yaml, resolve

__all__ = ["AflowConfig", "config_directory", "explain", "parse", "plain", "read_yaml", "resolve"]
__all__ += ["BudgetConfig", "ImplementerConfig", "LLMConfig", "RewardConfig", "SelectionConfig"]
__all__ += ["TaskConfig", "ValueConfig"]
