# SPDX-License-Identifier: Apache-2.0
"""How a run stands right now, by a few quick questions to its store; the search goes on undisturbed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aflow_env.store.findings import best_node, last_report, spent_usd, stopped
from aflow_env.store.read_only import Reads
from aflow_env.store.settings import stored_config

LAST = 8
"""Rounds that are shown, the latest first."""


@dataclass(frozen=True)
class Last:
    """A round that ended lately: its number, what came of it, the change, and Q of it where somebody predicted."""

    session: str
    round: int
    parent: int | None
    score: float | None
    modification: str
    q: float | None = None


@dataclass(frozen=True)
class Standing:
    """A run as it stands. `best` is a node as `show --json` has it; `wanted` is 0 where the config is unknown.

    `played` counts the expansions of the session that is furthest; `ended` says why it ended, "" while it may go on.
    """

    task: str
    simulated: bool
    sessions: int
    played: int
    wanted: int
    evaluated: int
    rejected: int
    best: Mapping[str, Any] | None
    cost_usd: float
    outcomes: Mapping[str, int]
    last: tuple[Last, ...]
    ended: str


def standing(store: Reads) -> Standing:
    """Ask the store."""
    config = stored_config(store)
    counts = store.read("SELECT count(*), count(score), coalesce(max(round), 1) FROM nodes")[0]
    total, evaluated, furthest = (int(str(each)) for each in counts)
    recent = store.read(
        "SELECT session, round, parent, score, modification, json_extract(payload, '$.q') FROM nodes "
        f"ORDER BY rowid DESC LIMIT {LAST}"
    )
    rows: list[Any] = list(recent)
    return Standing(
        task=config.task.name if config else "",
        simulated=config is not None and config.executor.kind == "simulated",
        sessions=int(str(store.read("SELECT count(*) FROM sessions")[0][0])),
        played=furthest - 1,
        wanted=config.rounds if config else 0,
        evaluated=evaluated,
        rejected=total - evaluated,
        best=best_node(store),
        cost_usd=spent_usd(store),
        outcomes=_outcomes(store),
        last=tuple(Last(*row) for row in rows),
        ended=_ended(store),
    )


def _outcomes(store: Reads) -> dict[str, int]:
    found: dict[str, int] = {}
    sql = "SELECT outcomes, count(*) FROM nodes WHERE score IS NOT NULL GROUP BY outcomes"
    for text, times in store.read(sql):
        for name, count in json.loads(str(text)).items():
            found[name] = found.get(name, 0) + count * int(str(times))
    return found


def _extended(store: Reads) -> bool:
    """Whether the search was begun again with other limits since its last closing report."""
    rows = store.read("SELECT kind FROM events WHERE kind IN ('config', 'report') ORDER BY id DESC LIMIT 1")
    return bool(rows) and rows[0][0] == "config"


def _ended(store: Reads) -> str:
    """A closing report that speaks of all nodes ends a run; a training run's sessions end long before it does."""
    report = last_report(store)
    evaluated = int(str(store.read("SELECT count(*) FROM nodes WHERE score IS NOT NULL")[0][0]))
    if not report or report["nodes"] != evaluated or _extended(store):
        return ""
    reasons = set(stopped(store).values())
    return reasons.pop() if len(reasons) == 1 else "all sessions have ended"
