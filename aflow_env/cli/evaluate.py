# SPDX-License-Identifier: Apache-2.0
"""`aflow-env evaluate DIR`: a workflow folder, ours or AFlow's, scored on the validate problems."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from aflow_env.cli.options import AsJson, Overrides, search_config
from aflow_env.cli.output import evaluation_object, evaluation_text, print_json
from aflow_env.config import AflowConfig
from aflow_env.evaluation.results import Evaluation
from aflow_env.search.assemble import Assembly, Split
from aflow_env.workflow.aflow_folder import read_workflow
from aflow_env.workflow.program import Workflow


def evaluate(
    directory: Annotated[Path, typer.Argument(help="Folder with graph.py and prompt.py.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Score a workflow on the validate problems; exit status 0 whatever the score."""
    workflow = read_workflow(directory)
    config = search_config(overrides or ())
    evaluation, layers = asyncio.run(scored(config, workflow, "validate"))
    if as_json:
        print_json(evaluation_object(evaluation, layers))
    else:
        print(evaluation_text(evaluation, config.executor.kind == "simulated"))


async def scored(config: AflowConfig, workflow: Workflow, split: Split) -> tuple[Evaluation, tuple[str, ...]]:
    """A workflow's evaluation on a split, and the sandbox layers that it ran in. Results are kept in `run_dir`."""
    assembly = await Assembly.open(config)
    try:
        problems = assembly.problems(split)
        evaluation = await assembly.evaluator.evaluate(workflow, problems, repeats=config.repeats)
        return evaluation, assembly.sandbox.layers
    finally:
        await assembly.aclose()
