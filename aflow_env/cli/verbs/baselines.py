# SPDX-License-Identifier: Apache-2.0
"""`aflow-env baselines`: the manual workflows of a task in one table, beside the best of a named run."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from aflow_env.cli.arguments import AsJson, Overrides, best_of, open_run, search_config
from aflow_env.cli.output import evaluation_object, print_json
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.evaluation.results import Evaluation, problem_interval95
from aflow_env.screen import Screen, plural
from aflow_env.search.assemble import Assembly
from aflow_env.tasks.baselines import baselines as manual_workflows
from aflow_env.workflow.program import Workflow

Split = Literal["validate", "test"]


def baselines(
    overrides: Overrides = None,
    split: Annotated[Split, typer.Option(help="Which problems to score on.")] = "validate",
    run: Annotated[Path | None, typer.Option(help="A run whose best workflow joins the table.")] = None,
    only: Annotated[str, typer.Option(metavar="NAMES", help="These only, e.g. IO,CoT (all).")] = "",
    as_json: AsJson = False,
) -> None:
    """Score IO, CoT, CoT-SC, program, self-refine and MultiPersona debate, with intervals of problems at large."""
    config = search_config(overrides or ())
    names = {name.strip() for name in only.split(",") if name.strip()}
    found = asyncio.run(_scored(config, split, names, _best(run) if run else {}))
    if as_json:
        rows = [
            {"name": name, "digest": each.digest, **evaluation_object(each), "calls": each.calls}
            for name, each in found.items()
        ]
        print_json({"task": config.task.name, "split": split, "baselines": rows})
        return
    simulated = ", SIMULATED executor" if config.executor.kind == "simulated" else ""
    title = f"{config.task.name}, {split} problems, {plural(config.repeats, 'repeat')}{simulated}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("workflow", no_wrap=True)
    for name in ("score", "95% interval", "n", "calls", "USD per problem"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, each in found.items():
        low, high = each.ci95
        runs = len(each.results)
        usd = "unknown" if each.usd_a_problem is None else f"{each.usd_a_problem:.6f}"
        table.add_row(
            name, f"{each.score:.3f}", f"[{low:.3f}, {high:.3f}]", str(each.n), f"{each.calls / runs:.1f}", usd
        )
    Screen().print(table)


async def _scored(
    config: AflowConfig, split: Split, only: set[str], more: dict[str, Workflow]
) -> dict[str, Evaluation]:
    assembly = await Assembly.open(config)
    try:
        problems = assembly.problems(split)
        if not problems:
            raise ConfigError(f"task.{split}_size={len(problems)}: there are no problems to score on; set it above 0")
        manual = manual_workflows(assembly.task.spec)
        if unknown := sorted(only - set(manual)):
            raise ConfigError(f"--only={','.join(unknown)}: {config.task.name} has the baselines {', '.join(manual)}")
        manual = {name: workflow for name, workflow in manual.items() if not only or name in only}
        found = {}
        for name, workflow in {**manual, **more}.items():
            evaluation = await assembly.evaluator.evaluate(workflow, problems, repeats=config.repeats)
            found[name] = replace(evaluation, ci95=problem_interval95(evaluation.results))
        return found
    finally:
        await assembly.aclose()


def _best(run: Path) -> dict[str, Workflow]:
    with open_run(run) as store:
        return {f"best of {run.name}": best_of(store, run)[1]}
