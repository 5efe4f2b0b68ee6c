# SPDX-License-Identifier: Apache-2.0
"""The three families of errors: the user's or the workflow's, the world's, and (everything else) ours.

Whose fault an error is decides what becomes of it: a `WorkflowError` counts against the workflow's score, an
`InfrastructureError` never does, a `ConfigError` stops the run before it starts. Anything else is a bug of ours and
crashes.
"""


class ConfigError(ValueError):
    """The user's input is wrong; the text names the key, the value and the fix, in one paragraph."""


class WorkflowError(Exception):
    """The generated workflow or edit is at fault: it counts, and it is told to the policy as experience."""


class InfrastructureError(Exception):
    """The network, a provider or the machine failed: excluded from every mean, retried, never a score."""


class BudgetExhausted(Exception):
    """The next call could pass the budget; the run ends cleanly with the best so far."""
