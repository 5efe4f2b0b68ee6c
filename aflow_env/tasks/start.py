# SPDX-License-Identifier: Apache-2.0
"""Where a search starts: a folder's workflow, or by default one poor step that asks for the bare answer."""

from pathlib import Path

from aflow_env.errors import ConfigError, WorkflowError
from aflow_env.workflow.aflow.aflow_folder import read_workflow
from aflow_env.workflow.gate import check
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.steps import Step, StepError, to_workflow

BARE_NUMBER = "Answer with the number only."
BARE_ANSWER = "Answer with the answer only."
BARE_CODE = "Write the function, without explanation."


def start_steps(spec: TaskSpec) -> tuple[Step, ...]:
    """A Custom step (CustomCodeGenerate for code tasks) that leaves everything to be found."""
    if spec.entry_point and "CustomCodeGenerate" in spec.operators:
        return (Step("CustomCodeGenerate", BARE_CODE),)
    numeric = "Programmer" in spec.operators
    return (Step("Custom", BARE_NUMBER if numeric else BARE_ANSWER),)


def start_workflow(where: str, spec: TaskSpec) -> Workflow:
    """`default` is the task's own start workflow, anything else is a folder.

    Raises ConfigError, WorkflowError's text in it.
    """
    if where == "default":
        try:
            return to_workflow(start_steps(spec), spec)
        except StepError as error:
            raise ConfigError(
                f"problems.start=default would not be run: {error}. Allow its operator too (operators of the task's "
                "YAML, or task.options.operators), or name a folder of your own in problems.start"
            ) from error
    folder = Path(where)
    if not (folder / "graph.py").is_file():
        raise ConfigError(
            f"problems.start={where}: there is no graph.py in that folder; name a workflow folder or `default`"
        )
    workflow = read_workflow(folder)
    try:
        check(workflow, spec)
    except WorkflowError as error:
        raise ConfigError(f"problems.start={where} would not be run: {error}") from error
    return workflow
