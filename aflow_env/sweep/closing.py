# SPDX-License-Identifier: Apache-2.0
"""The end of a sweep: every job with its status and its best scores, in 80 columns."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any, get_args

from rich.table import Column, Table

from aflow_env.errors import ConfigError
from aflow_env.screen import WIDTH, Screen, plural
from aflow_env.store.database import ReadOnlyStore
from aflow_env.store.findings import last_report
from aflow_env.sweep.jobs import EndedJob, Status


def closing_table(ended: Sequence[EndedJob]) -> str:
    """Return the table, and how many jobs were done, skipped and failed."""
    columns = [Column(name, no_wrap=True) for name in ("status", "best, validate", "test")]
    grid = Table(Column("job", overflow="fold"), *columns, box=None, pad_edge=False)
    for each in ended:
        said = found(each.job.run_dir) or {}
        grid.add_row(each.job.name, each.status, *(_figure(said.get(name)) for name in ("best", "test")))
    out = StringIO()
    Screen(file=out, width=WIDTH).print(grid)
    counts = Counter(each.status for each in ended)
    numbers = ", ".join(f"{counts[status]} {status}" for status in get_args(Status))
    again = ". Run the same command again to go on with the missing jobs" if counts["failed"] else ""
    return f"{out.getvalue()}{plural(len(ended), 'job')}: {numbers}{again}"


def found(run_dir: Path) -> dict[str, Any] | None:
    """Return the closing report of a run, or None without one, or where a failed job left no readable store."""
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
