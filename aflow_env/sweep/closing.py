# SPDX-License-Identifier: Apache-2.0
"""What a sweep says when it is over: every job with how it ended and what its search found, in 80 columns."""

from collections.abc import Sequence
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

from rich.table import Table

from aflow_env.errors import ConfigError
from aflow_env.screen import WIDTH, Screen
from aflow_env.store.findings import last_report
from aflow_env.store.read_only import ReadOnlyStore
from aflow_env.sweep.jobs import EndedJob


def closing_table(ended: Sequence[EndedJob]) -> str:
    """The table, and how many jobs were done, skipped and failed."""
    grid = Table(box=None, pad_edge=False)
    grid.add_column("job", overflow="fold")
    for name in ("status", "best, validate", "test"):
        grid.add_column(name, no_wrap=True)
    for each in ended:
        said = found(each.job.run_dir) or {}
        grid.add_row(each.job.name, each.status, *(_figure(said.get(name)) for name in ("best", "test")))
    out = StringIO()
    Screen(file=out, width=WIDTH).print(grid)
    failed = [each.job.name for each in ended if each.status == "failed"]
    counts = [f"{sum(each.status == status for each in ended)} {status}" for status in ("done", "skipped", "failed")]
    last = f"{len(ended)} jobs: {', '.join(counts)}"
    if failed:
        last += ". Run the same command again: it goes on with what is missing"
    return f"{out.getvalue()}{last}"


def found(run_dir: Path) -> dict[str, Any] | None:
    """The closing report of a run; None before there is one, or where a failed job left no store that can be read."""
    try:
        with closing(ReadOnlyStore(run_dir / "run.sqlite")) as store:
            return last_report(store)
    except ConfigError:
        return None


def _figure(evaluation: dict[str, Any] | None) -> str:
    if evaluation is None:
        return "-"
    low, high = evaluation["ci95"]
    return f"{evaluation['score']:.2f} [{low:.2f}, {high:.2f}]"
