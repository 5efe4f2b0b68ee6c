# SPDX-License-Identifier: Apache-2.0
"""Workflows that are scored outside of a search.

`aflow-env evaluate DIR`: a workflow folder, ours or AFlow's, on the validate problems.
`aflow-env test RUN_OR_DIR`: a workflow on the held-out test problems, which no search ever sees.
`aflow-env baselines`: the manual workflows of a task in one table, beside the best of a named run.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Column, Table

from aflow_env.cli.arguments import AsJson, Overrides, best_of, is_run, run_config, search_config, store_of
from aflow_env.cli.compose import values
from aflow_env.cli.output import evaluation_object, evaluation_text, print_json
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.evaluation.results import Evaluation, problem_interval95
from aflow_env.screen import Screen, plural, say
from aflow_env.search.assemble import Assembly
from aflow_env.store.store import Store
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import baselines as manual_workflows
from aflow_env.workflow.aflow.aflow_workspace import read_workflow
from aflow_env.workflow.program import Workflow

Split = Literal["validate", "test"]
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
    (evaluation,), layers = asyncio.run(_scored(config, [workflow], "validate"))
    if as_json:
        print_json(_object(evaluation, layers))
    else:
        say(evaluation_text(evaluation, config.executor.kind == "simulated"))


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
    (evaluation,), layers = asyncio.run(_scored(config, [workflow], "test"))
    evaluation = replace(evaluation, ci95=problem_interval95(evaluation.results))
    if as_json:
        print_json({**_object(evaluation, layers), "digest": workflow.digest, "repeats": config.repeats})
        return
    say(f"{config.task.name}, test problems, {plural(config.repeats, 'repeat')}, workflow {workflow.digest}")
    say(evaluation_text(evaluation, config.executor.kind == "simulated"))


def baselines(
    overrides: Overrides = None,
    split: Annotated[Split, typer.Option(help="Which problems to score on.")] = "validate",
    run: Annotated[Path | None, typer.Option(help="A run whose best workflow joins the table.")] = None,
    only: Annotated[str, typer.Option(metavar="NAMES", help="These only, e.g. IO,CoT (all).")] = "",
    as_json: AsJson = False,
) -> None:
    """Score IO, CoT, CoT-SC, program, self-refine and MultiPersona debate, with intervals of problems at large."""
    config = search_config(overrides or ())
    workflows = manual_workflows(load_task(config.task).spec)
    if names := {name.strip() for name in only.split(",") if name.strip()}:
        if unknown := sorted(names - workflows.keys()):
            known = ", ".join(workflows)
            raise ConfigError(f"--only={','.join(unknown)}: {config.task.name} has the baselines {known}")
        workflows = {name: workflow for name, workflow in workflows.items() if name in names}
    if run:
        with Store(store_of(run)) as store:
            workflows[f"best of {run.name}"] = best_of(store, run)[1]
    evaluations, _ = asyncio.run(_scored(config, list(workflows.values()), split))
    found = {
        name: replace(each, ci95=problem_interval95(each.results))
        for name, each in zip(workflows, evaluations, strict=True)
    }
    if as_json:
        rows = [
            {"name": name, "digest": each.digest, **evaluation_object(each), "calls": each.calls}
            for name, each in found.items()
        ]
        print_json({"task": config.task.name, "split": split, "baselines": rows})
        return
    simulated = ", SIMULATED executor" if config.executor.kind == "simulated" else ""
    title = f"{config.task.name}, {split} problems, {plural(config.repeats, 'repeat')}{simulated}"
    Screen().print(_table(title, found))


def named(target: Path, overrides: list[str]) -> tuple[AflowConfig, Workflow]:
    """Return the config and the workflow of a run, or of a folder with overrides."""
    if not is_run(target):
        if not (target / "graph.py").is_file():
            raise ConfigError(f"{target} is neither a run (no run.sqlite) nor a workflow folder (no graph.py)")
        return search_config(overrides), read_workflow(target)
    with Store(store_of(target)) as store:
        return run_config(target, overrides), best_of(store, target)[1]


async def _scored(
    config: AflowConfig, workflows: list[Workflow], split: Split
) -> tuple[list[Evaluation], tuple[str, ...]]:
    """Return the workflows' evaluations on a split, and the sandbox layers. The results are in `run_dir`."""
    async with aclosing(await Assembly.open(config)) as assembly:
        problems = assembly.problems(split)
        if not problems:
            raise ConfigError(f"task.{split}_size={len(problems)}: there are no problems to score on; set it above 0")
        found = [await assembly.evaluator.evaluate(each, problems, repeats=config.repeats) for each in workflows]
        return found, assembly.sandbox.layers


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


def _table(title: str, found: Mapping[str, Evaluation]) -> Table:
    figures = ("score", "95% interval", "n", "calls", "USD per problem")
    columns = [Column(name, justify="right", no_wrap=True) for name in figures]
    table = Table(
        Column("workflow", overflow="fold"), *columns, title=title, title_justify="left", box=None, pad_edge=False
    )
    for name, each in found.items():
        low, high = each.ci95
        calls = f"{each.calls / len(each.results):.1f}"
        usd = "unknown" if each.usd_a_problem is None else f"{each.usd_a_problem:.6f}"
        table.add_row(name, f"{each.score:.3f}", f"[{low:.3f}, {high:.3f}]", str(each.n), calls, usd)
    return table
