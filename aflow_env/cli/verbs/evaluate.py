# SPDX-License-Identifier: Apache-2.0
"""`aflow-env evaluate DIR`: a workflow folder, ours or AFlow's, scored on the validate problems.

`aflow-env test RUN_OR_DIR`: a workflow on the held-out test problems, which no search ever sees.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from aflow_env.cli.arguments import AsJson, Overrides, best_of, is_run, open_run, run_config, search_config
from aflow_env.cli.compose import values
from aflow_env.cli.output import evaluation_object, evaluation_text, print_json
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.evaluation.results import Evaluation, problem_interval95
from aflow_env.screen import plural, say
from aflow_env.search.assemble import Assembly, Split
from aflow_env.workflow.aflow.aflow_workspace import read_workflow
from aflow_env.workflow.program import Workflow

REPEATS = 3  # AFlow's test mean of three
SHOWN = 200
"""Characters of an answer."""


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
        print_json(_object(evaluation, layers))
    else:
        say(evaluation_text(evaluation, config.executor.kind == "simulated"))


async def scored(config: AflowConfig, workflow: Workflow, split: Split) -> tuple[Evaluation, tuple[str, ...]]:
    """Return a workflow's evaluation on a split, and its sandbox layers. The results are in `run_dir`."""
    assembly = await Assembly.open(config)
    try:
        problems = assembly.problems(split)
        evaluation = await assembly.evaluator.evaluate(workflow, problems, repeats=config.repeats)
        return evaluation, assembly.sandbox.layers
    finally:
        await assembly.aclose()


def held_out(
    target: Annotated[Path, typer.Argument(help="A run (its best workflow is tested), or a workflow folder.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Score a workflow on the test problems, three times each unless repeats=N says otherwise.

    The interval is that of problems at large: it is computed over the means of each problem's repeats.
    """
    given = list(overrides or ())
    if "repeats" not in values(given):
        given.append(f"repeats={REPEATS}")
    config, workflow = named(target, given)
    if config.task.test_size < 1:
        raise ConfigError(f"task.test_size={config.task.test_size}: there is nothing to test on; set it above 0")
    evaluation, layers = asyncio.run(scored(config, workflow, "test"))
    evaluation = replace(evaluation, ci95=problem_interval95(evaluation.results))
    if as_json:
        print_json({**_object(evaluation, layers), "digest": workflow.digest, "repeats": config.repeats})
        return
    say(f"{config.task.name}, test problems, {plural(config.repeats, 'repeat')}, workflow {workflow.digest}")
    say(evaluation_text(evaluation, config.executor.kind == "simulated"))


def named(target: Path, overrides: list[str]) -> tuple[AflowConfig, Workflow]:
    """Return the config and the workflow of a run, or of a folder with overrides."""
    if not is_run(target):
        if not (target / "graph.py").is_file():
            raise ConfigError(f"{target} is neither a run (no run.sqlite) nor a workflow folder (no graph.py)")
        return search_config(overrides), read_workflow(target)
    with open_run(target) as store:
        return run_config(target, overrides), best_of(store, target)[1]


def _object(evaluation: Evaluation, layers: tuple[str, ...]) -> dict[str, Any]:
    problems = [
        {
            "id": each.problem_id,
            "outcome": each.outcome,
            "answer": each.answer[:SHOWN],
            "feedback": each.feedback,
            "seconds": each.seconds,
        }
        for each in evaluation.results
    ]
    return evaluation_object(evaluation) | {"sandbox": list(layers), "problems": problems}
