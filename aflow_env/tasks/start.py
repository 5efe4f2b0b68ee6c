# SPDX-License-Identifier: Apache-2.0
"""Where a search starts when nothing else is said: one poor step that asks for the bare answer."""

from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.steps import Step

BARE_NUMBER = "Answer with the number only."
BARE_ANSWER = "Answer with the answer only."
BARE_CODE = "Write the function, without explanation."


def start_steps(spec: TaskSpec) -> tuple[Step, ...]:
    """A Custom step (CustomCodeGenerate for code tasks) that leaves everything to be found."""
    if spec.entry_point and "CustomCodeGenerate" in spec.operators:
        return (Step("CustomCodeGenerate", BARE_CODE),)
    numeric = "Programmer" in spec.operators
    return (Step("Custom", BARE_NUMBER if numeric else BARE_ANSWER),)
