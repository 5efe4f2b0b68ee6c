# SPDX-License-Identifier: Apache-2.0
"""Errors by their cause, which decides how they count. Any other exception is a bug of ours, and crashes."""


class ConfigError(ValueError):
    """The user's input is wrong. The text names the key, the value and the fix. It stops a run before it starts."""


class WorkflowError(Exception):
    """The generated workflow or edit is wrong. It counts against the score, and the policy reads its text."""


class InfrastructureError(Exception):
    """The network, a provider or the machine failed. It is retried and is in no score."""


class BudgetExhausted(Exception):
    """The next call could exceed the budget. The run ends cleanly with the best workflow so far."""
