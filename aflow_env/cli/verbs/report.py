# SPDX-License-Identifier: Apache-2.0
"""`aflow-env report RUNS...`: compare runs, as a table, an HTML page, CSV or JSON.

`aflow-env tree RUN`: the search tree of a run as one interactive HTML file.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from aflow_env.cli.arguments import AsJson, RunFolder, needs, store_of
from aflow_env.cli.output import print_json
from aflow_env.files import write_text
from aflow_env.report.runs import RunRecord, read_runs, run_name
from aflow_env.report.wandb_runs import offline_runs, online_runs
from aflow_env.screen import WIDTH, Screen, plural, say
from aflow_env.store.database import ReadOnlyStore


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, their parents, wandb folders, wandb's ENTITY/PROJECT.")
    ],
    by: Annotated[list[str] | None, typer.Option(help="Config key to group by, dotted; may be repeated.")] = None,
    baseline: Annotated[str | None, typer.Option(help="The group to compare the others with, as KEY=VALUE.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page there.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row a run there.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs: mean, interval, n and cost of each group, and a verdict."""
    from aflow_env.report.summary import Summary, as_csv, as_object, front_text, mean_text, summarise
    from aflow_env.report.verdict import verdict

    if html is not None:
        needs("report", "matplotlib", "jinja2")
    summary: Summary = summarise(_read(runs), by or ["rl_weight"], baseline)
    if html is not None:
        from aflow_env.report.html.page import page

        write_text(html, page(summary))
    if csv is not None:
        write_text(csv, as_csv(summary))
    if as_json:
        print_json(as_object(summary, verdict(summary)))
        return
    screen = Screen(width=WIDTH)
    if summary.simulated:
        screen.print(f"SIMULATED executor in {summary.simulated} of {plural(len(summary.runs), 'run')}")
    columns = [Column(name, no_wrap=True) for name in ("runs", "test", "best, validate", "USD")]
    grid = Table(Column("group", overflow="fold"), *columns, box=None, pad_edge=False)
    for each in summary.groups:
        scores = (mean_text(each.test, 2), mean_text(each.best, 2))
        grid.add_row(each.label, str(each.runs), *scores, f"{each.cost_usd.value:.4f}" if each.cost_usd else "unknown")
    screen.print(grid)
    for each in summary.groups:
        screen.print(f"score for cost, {each.label}: {front_text(each.front)}")
    for effect in summary.effects:
        interval = "" if effect.low is None else f" [{effect.low:+.3f}, {effect.high:+.3f}]"
        difference = f"{effect.difference:+.3f}{interval}, n={plural(effect.n, 'pair')}"
        screen.print(f"{effect.group} against {summary.baseline}: {difference}")
    screen.print(verdict(summary))
    for path in (html, csv):
        if path is not None:
            screen.print(f"written: {path}", soft_wrap=True)


def _read(paths: list[Path]) -> list[RunRecord]:
    """Read the stores of each path, else its offline wandb folders, else a project of that name online.

    A run counts once, by its store where wandb has it too.
    """
    projects = dict.fromkeys(path for path in paths if not path.exists() and len(path.parts) == 2)
    logs = [path for path in paths if _is_log(path)]
    if logs or projects:
        needs("log", "wandb")
    found = read_runs([path for path in paths if path not in projects and path not in logs])
    known = {_identity(run) for run in found}
    tracked = [*offline_runs(logs), *(run for project in projects for run in online_runs(str(project)))]
    return [*found, *(run for run in tracked if _identity(run) not in known)]


def _is_log(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".wandb"
    return not any(path.glob("**/run.sqlite")) and any(path.glob("**/*.wandb"))


def _identity(run: RunRecord) -> tuple[str, str]:
    return run.name, str(run.config.get("run_dir"))


def tree(
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="Where the page goes; RUN/tree.html unless it is given.")] = None,
) -> None:
    """Write the search tree: nodes coloured by score, with code, differences, outcomes and failed cases at a click."""
    needs("report", "jinja2")
    from aflow_env.report.html.tree_page import tree_page

    with ReadOnlyStore(store_of(run)) as store:
        folder = store.path.parent
        page = tree_page(store, run_name(folder))
    path = out or folder / "tree.html"
    write_text(path, page)
    say(str(path))
