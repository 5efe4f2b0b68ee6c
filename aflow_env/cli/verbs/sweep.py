# SPDX-License-Identifier: Apache-2.0
"""`aflow-env sweep`: searches without training over a grid of values, some at a time."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

from aflow_env.cli.arguments import AsJson, search_config
from aflow_env.cli.compose import assigned, parsed
from aflow_env.cli.output import print_json
from aflow_env.errors import ConfigError
from aflow_env.screen import say
from aflow_env.search.kinds import check_predictor
from aflow_env.store.settings import may_change
from aflow_env.sweep.jobs import EndedJob, Job, closing_table, last_report_of, run
from aflow_env.sweep.launcher import group, identity, shorten, suffix, swept

Grid = Annotated[
    list[str], typer.Argument(help="key=value of the aflow: node; key=a,b,c sweeps, as does key=range(1,4)")
]
HALF_THE_CORES = max(1, (os.cpu_count() or 2) // 2)


def sweep(
    overrides: Grid,
    jobs: Annotated[int, typer.Option(min=1, help="How many searches run at a time.")] = HALF_THE_CORES,
    out: Annotated[Path, typer.Option(help="Where the run folders go.")] = Path("runs/sweep"),
    as_json: AsJson = False,
) -> None:
    """Search once for every combination of values; run the same command again to go on with the missing ones."""
    planned = [_job(combination, overrides, out) for combination in grid(overrides)]
    try:
        ended = run(planned, jobs, lambda text: say(text, error=True))
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again to go on with what is missing.", error=True)
        raise typer.Exit(130) from None
    if as_json:
        print_json({"jobs": [_object(each) for each in ended]})
    else:
        say(closing_table(ended))
        say(f"aflow-env report {out}/* --by KEY compares them")
    if any(each.status == "failed" for each in ended):
        raise typer.Exit(3)


def grid(overrides: list[str]) -> list[list[str]]:
    """Return every combination, in Hydra's own order. Raises ConfigError for a wrong override."""
    batches: list[list[list[str]]] = BasicSweeper.split_arguments(parsed(overrides), None)
    return [combination for batch in batches for combination in batch]


def _job(overrides: list[str], given: list[str], out: Path) -> Job:
    """Return the search of one combination of the `given` values, named by the swept ones.

    Raises ConfigError before anything has started.
    """
    what = identity(overrides)
    if "run_dir" in what:
        raise ConfigError("run_dir: the searches of a sweep must not share one; name their parent folder by --out")
    name = shorten(suffix(swept(what, given) or what).removeprefix("-"))
    folder = out / name
    searched = [*overrides, assigned("run_dir", folder)]
    config = search_config(searched)
    check_predictor(config)
    command = (sys.executable, "-m", "aflow_env.cli", "search", *searched)
    return Job(name, folder, folder, command, what, may_change, {"WANDB_RUN_GROUP": group(given)})


def _object(ended: EndedJob) -> dict[str, object]:
    said = last_report_of(ended.job) or {}
    figures = {name: said.get(name) for name in ("start", "best", "test")}
    facts = {"name": ended.job.name, "status": ended.status, "run_dir": str(ended.job.run_dir), "reason": ended.reason}
    return facts | figures
