# SPDX-License-Identifier: Apache-2.0
"""The start workflow of a search: a folder's, or by default the plain question, as AFlow's round 1."""

from pathlib import Path

from aflow_env.errors import ConfigError, WorkflowError
from aflow_env.workflow.aflow.aflow_folder import read_workflow
from aflow_env.workflow.gate import check
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.steps import Step, StepError, to_workflow


def start_steps(spec: TaskSpec) -> tuple[Step, ...]:
    """Return one Custom step (CustomCodeGenerate for code tasks) with the task's start instruction, usually empty."""
    writes = spec.entry_point and "CustomCodeGenerate" in spec.operators
    return (Step("CustomCodeGenerate" if writes else "Custom", spec.start),)


def start_workflow(where: str, spec: TaskSpec) -> Workflow:
    """Return the task's start workflow for `default`, else the workflow of the folder `where`. Raises ConfigError."""
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
        raise ConfigError(f"problems.start={where}: that folder has no graph.py; name a workflow folder or `default`")
    workflow = read_workflow(folder)
    try:
        check(workflow, spec)
    except WorkflowError as error:
        raise ConfigError(f"problems.start={where} would not be run: {error}") from error
    return workflow
