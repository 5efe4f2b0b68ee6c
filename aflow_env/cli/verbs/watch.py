# SPDX-License-Identifier: Apache-2.0
"""`aflow-env watch RUN`: a running search, live on a terminal, plain lines anywhere else."""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from aflow_env.screen import Screen, fit, one_line, plural
from aflow_env.store.database import JSON, ReadOnlyStore, Reads
from aflow_env.store.findings import best_node, evaluated, last_report, rejections, spent, stopped
from aflow_env.store.settings import stored_config

WAIT_SECONDS = 20.0
"""How long to wait for the store of a folder that exists."""
BEGINNING_SECONDS = 2.0
"""How long to wait for the tables of a store."""
LAST = 8
"""Rounds that are shown, the latest first."""


@dataclass(frozen=True)
class Standing:
    """The state of a run: its figures, a line each, and its last rounds. `ended` is why it ended, "" while it goes on.

    `last` has session, round, parent, score (None for a rejection), modification and q of each round.
    """

    facts: Sequence[str]
    last: Sequence[Mapping[str, JSON]]
    ended: str


def watch(
    run: RunFolder,
    every: Annotated[float, typer.Option(min=0.1, max=86_400, help="Seconds between two looks.")] = 1.0,
) -> None:
    """Follow a search until it ends, or until Ctrl-C, which ends the view and not the search."""
    screen = Screen()
    try:
        with _opened(run, every) as store:
            if screen.is_terminal:
                with Live(console=screen, auto_refresh=False) as live:
                    for found in _looks(store, every):
                        live.update(view(found), refresh=True)
            else:
                _lines(screen, _looks(store, every))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def standing(store: Reads) -> Standing:
    """Return the state of the run in a store."""
    config, best, ended = stored_config(store), best_node(store), _ended(store)
    simulated = ", SIMULATED executor" if config and config.executor.kind == "simulated" else ""
    ((sessions, furthest),) = store.read(
        "SELECT (SELECT count(*) FROM sessions), coalesce(max(round), 1) - 1 FROM nodes"
    )
    wanted = f" of {config.rounds}" if config and config.rounds else ""
    far = f"round {furthest}{wanted}{f', {sessions} sessions' if sessions > 1 else ''}"
    score = f"{score_text(best['score'], best['ci95'])}, n={best['n']}, round {best['round']}" if best else "none yet"
    facts = [
        f"{config.task.name if config else 'a run'}{simulated}: {far}",
        f"best      {score}",
        f"evaluated {evaluated(store)}, rejected {rejections(store)}, {cost_text(spent(store))}",
        f"outcomes  {_outcomes(store)}",
        *([f"ended     {ended}"] if ended else []),
    ]
    last = store.records(
        ("session", "round", "parent", "score", "modification", "q"),
        "SELECT session, round, parent, score, modification, json_extract(payload, '$.q') FROM nodes "
        f"ORDER BY rowid DESC LIMIT {LAST}",
    )
    return Standing(facts, last, ended)


def view(found: Standing) -> Group:
    """Return the view of the terminal."""
    table = Table(box=None, pad_edge=False)
    asked = any(each["q"] is not None for each in found.last)
    for name in ("round", "from", "score") + ("predicted",) * asked:
        table.add_column(name, no_wrap=True)
    table.add_column("change", overflow="ellipsis", no_wrap=True)
    for each in found.last:
        said = ("-" if each["q"] is None else f"{each['q']:.3f}",) * asked
        change = one_line(each["modification"])
        table.add_row(str(each["round"]), str(each["parent"] or "-"), _score(each), *said, change)
    return Group(*(Text(one_line(line), overflow="ellipsis", no_wrap=True) for line in found.facts), "", table)


def _outcomes(store: Reads) -> str:
    """Return the share of each outcome of the runs on problems."""
    counts = Counter[str]()
    for text, times in store.read("SELECT outcomes, count(*) FROM nodes WHERE score IS NOT NULL GROUP BY outcomes"):
        counts.update({name: count * times for name, count in json.loads(text).items()})
    total = counts.total()
    shares = [f"{name} {count / total:.0%}" for name, count in sorted(counts.items())] or ["-"]
    truncated = store.read("SELECT coalesce(sum(truncated), 0) FROM nodes")[0][0]
    cut = f", {plural(truncated, 'reply', 'replies')} truncated" if truncated else ""
    return f"{', '.join(shares)} (n={total}){cut}"


def _ended(store: Reads) -> str:
    """Return why a run ended, "" while it may go on.

    A closing report on all nodes ends a run, unless the search was begun again with other limits since. A training
    run's sessions end long before it.
    """
    report = last_report(store)
    latest = store.read("SELECT kind FROM events WHERE kind IN ('config', 'report') ORDER BY id DESC LIMIT 1")
    if not report or report["nodes"] != evaluated(store) or latest[0][0] == "config":
        return ""
    reasons = set(stopped(store).values())
    return reasons.pop() if len(reasons) == 1 else "all sessions have ended"


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
            _say(screen, found.facts[0])
        for each in reversed(found.last):
            if (place := (each["session"], each["round"])) not in seen:
                seen.add(place)
                said = "" if each["q"] is None else f" (predicted {each['q']:.3f})"
                begun = f"round {each['round']} from {each['parent'] or '-'}: {_score(each)}{said}"
                _say(screen, f"{begun}  {one_line(each['modification'])}")
    for line in found.facts[1:] if found else ():
        _say(screen, line)


def _score(each: Mapping[str, JSON]) -> str:
    return "rejected" if each["score"] is None else f"{each['score']:.3f}"


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
