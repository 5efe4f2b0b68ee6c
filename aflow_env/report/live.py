# SPDX-License-Identifier: Apache-2.0
"""Read the state of a run that may still be running."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aflow_env.llm.budget import Spend
from aflow_env.store.database import Reads
from aflow_env.store.findings import best_node, evaluated, last_report, spent, stopped
from aflow_env.store.settings import stored_config

LAST = 8
"""Rounds that are shown, the latest first."""


@dataclass(frozen=True)
class Last:
    """A round that ended lately: its number, its score, the change, and its predicted score."""

    session: str
    round: int
    parent: int | None
    score: float | None
    modification: str
    q: float | None = None


@dataclass(frozen=True)
class Standing:
    """The state of a run. `best` is a node as in `show --json`; `wanted` is 0 where the config is unknown.

    `played` counts the expansions of the session that is furthest. `ended` is why it ended, "" while it may go on.
    """

    task: str
    simulated: bool
    sessions: int
    played: int
    wanted: int
    evaluated: int
    rejected: int
    best: Mapping[str, Any] | None
    spent: Spend
    outcomes: Mapping[str, int]
    truncated: int
    last: tuple[Last, ...]
    ended: str


def standing(store: Reads) -> Standing:
    """Return the state of the run in a store."""
    config = stored_config(store)
    ((total, furthest, truncated),) = store.read(
        "SELECT count(*), coalesce(max(round), 1), coalesce(sum(truncated), 0) FROM nodes"
    )
    last = store.read(
        "SELECT session, round, parent, score, modification, json_extract(payload, '$.q') FROM nodes "
        f"ORDER BY rowid DESC LIMIT {LAST}"
    )
    outcomes = Counter[str]()
    for text, times in store.read("SELECT outcomes, count(*) FROM nodes WHERE score IS NOT NULL GROUP BY outcomes"):
        outcomes.update({name: count * times for name, count in json.loads(text).items()})
    return Standing(
        task=config.task.name if config else "",
        simulated=config is not None and config.executor.kind == "simulated",
        sessions=store.read("SELECT count(*) FROM sessions")[0][0],
        played=furthest - 1,
        wanted=config.rounds if config else 0,
        evaluated=evaluated(store),
        rejected=total - evaluated(store),
        best=best_node(store),
        spent=spent(store),
        outcomes=outcomes,
        truncated=truncated,
        last=tuple(Last(*row) for row in last),
        ended=_ended(store),
    )


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
