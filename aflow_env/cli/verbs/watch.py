# SPDX-License-Identifier: Apache-2.0
"""`aflow-env watch RUN`: a running search, live on a terminal, plain lines anywhere else."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from aflow_env.cli.arguments import RunFolder, is_run, store_of
from aflow_env.cli.output import cost_text, score_text
from aflow_env.errors import ConfigError
from aflow_env.report.live import Last, Standing, standing
from aflow_env.screen import Screen, fit, one_line, plural
from aflow_env.store.database import ReadOnlyStore

WAIT_SECONDS = 20.0
"""How long to wait for the store of a folder that exists."""
BEGINNING_SECONDS = 2.0
"""How long to wait for the tables of a store."""


def watch(
    run: RunFolder,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Follow a search until it ends, or until Ctrl-C, which ends the view and not the search."""
    screen = Screen()
    try:
        with closing(_opened(run, every)) as store:
            if screen.is_terminal:
                with Live(console=screen, auto_refresh=False) as live:
                    for found in _looks(store, every):
                        live.update(view(found), refresh=True)
            else:
                _lines(screen, _looks(store, every))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def view(found: Standing) -> Group:
    """Return the view of the terminal."""
    table = Table(box=None, pad_edge=False)
    asked = any(each.q is not None for each in found.last)
    for name in ("round", "from", "score") + ("predicted",) * asked:
        table.add_column(name, no_wrap=True)
    table.add_column("change", overflow="ellipsis", no_wrap=True)
    for each in found.last:
        score = "rejected" if each.score is None else f"{each.score:.3f}"
        said = ("-" if each.q is None else f"{each.q:.3f}",) * asked
        table.add_row(str(each.round), str(each.parent or "-"), score, *said, one_line(each.modification))
    return Group(*(Text(one_line(line), overflow="ellipsis", no_wrap=True) for line in facts(found)), "", table)


def facts(found: Standing) -> list[str]:
    """Return the figures, a line each."""
    task = f"{found.task or 'a run'}{', SIMULATED executor' if found.simulated else ''}"
    far = f"round {found.played}{f' of {found.wanted}' if found.wanted else ''}"
    sessions = f", {found.sessions} sessions" if found.sessions > 1 else ""
    total = sum(found.outcomes.values())
    shares = [f"{name} {count / total:.0%}" for name, count in sorted(found.outcomes.items())] or ["-"]
    cut = f", {plural(found.truncated, 'reply', 'replies')} truncated" if found.truncated else ""
    best = found.best
    score = f"{score_text(best['score'], best['ci95'])}, n={best['n']}, round {best['round']}" if best else "none yet"
    return [
        f"{task}: {far}{sessions}",
        f"best      {score}",
        f"evaluated {found.evaluated}, rejected {found.rejected}, {cost_text(found.spent)}",
        f"outcomes  {', '.join(shares)} (n={total}){cut}",
        *([f"ended     {found.ended}"] if found.ended else []),
    ]


def _looks(store: ReadOnlyStore, every: float) -> Iterator[Standing]:
    yield (found := standing(store))
    while not found.ended:
        time.sleep(every)
        yield (found := standing(store))


def _lines(screen: Screen, looks: Iterator[Standing]) -> None:
    """Print a line for each new round (the latest `LAST` of a look), the figures at the first and at the end."""
    seen: set[tuple[str, int]] = set()
    found = None
    for found in looks:
        if found.last and not seen:
            _say(screen, facts(found)[0])
        for each in reversed(found.last):
            if (each.session, each.round) not in seen:
                seen.add((each.session, each.round))
                _say(screen, _line(each))
    if found is not None:
        for line in facts(found)[1:]:
            _say(screen, line)


def _line(each: Last) -> str:
    score = "rejected" if each.score is None else f"{each.score:.3f}"
    said = "" if each.q is None else f" (predicted {each.q:.3f})"
    return f"round {each.round} from {each.parent or '-'}: {score}{said}  {one_line(each.modification)}"


def _say(screen: Screen, text: str) -> None:
    screen.print(fit(text), soft_wrap=True)
    screen.file.flush()


def _opened(run: Path, every: float) -> ReadOnlyStore:
    """Open the store of a search that may start right now. Raises ConfigError when none comes."""
    began = time.monotonic()
    while True:
        patience = BEGINNING_SECONDS if is_run(run) else WAIT_SECONDS if run.is_dir() else 0.0
        try:
            return ReadOnlyStore(store_of(run))
        except ConfigError:
            if time.monotonic() - began >= patience:
                raise
        time.sleep(min(every, 0.5))
