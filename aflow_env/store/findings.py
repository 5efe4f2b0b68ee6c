# SPDX-License-Identifier: Apache-2.0
"""Questions that a run answers from its store: which workflow is best, which nodes there are, what they cost.

The best workflow is the one that the closing report chose, unless the search went on since; without a report it is
the leader: the best mean score over the nodes of one workflow on validate problems, the workflow scored more often and
then the earlier one among equals. Where none was scored there, it is the leader of the training problems, by the lower
end of the interval of all runs: each session draws other ones, and a mean over one small draw is often luck.
"""

import json
import sqlite3
from contextlib import closing
from typing import Any

from aflow_env.evaluation.results import wilson
from aflow_env.files import storing
from aflow_env.llm.prices import PICO
from aflow_env.store.read_only import Reads
from aflow_env.store.store import Store
from aflow_env.workflow.program import Workflow

JSON = Any

_NODE = "session, round, parent, digest, score, low, high, n, modification, outcomes, cost_usd, input_tokens"
_NODE_COLUMNS = f"{_NODE}, output_tokens, calls, payload"
_VALIDATED = "sessions.problem NOT LIKE 'train/%'"
_EVALUATED = "FROM nodes JOIN sessions ON sessions.id = nodes.session WHERE score IS NOT NULL"


def leaders(store: Reads, task: str, count: int) -> list[Workflow]:
    """The `count` leading workflows of a task on validate problems, then the `count` leading ones on training problems.

    Sessions of validation and of a stand-alone search score on validate problems, training sessions on training
    problems. A workflow that led on both comes once.
    """
    found = dict.fromkeys([*_leading_validated(store, task, count), *_leading_trained(store, task, count)])
    return [workflow_of(store, digest) for digest in found]


def workflow_of(store: Reads, digest: str) -> Workflow:
    """The text of a stored workflow. Raises ValueError for a digest that is not in the store."""
    rows = store.read("SELECT graph, prompts FROM programs WHERE digest = ? ORDER BY rowid LIMIT 1", (digest,))
    if not rows:
        raise ValueError(f"no workflow with digest {digest} is stored")
    return Workflow(str(rows[0][0]), str(rows[0][1]))


def start_of(store: Reads, task: str) -> Workflow | None:
    """Where the searches on validate problems started, which an imported run alone knows; None before the first."""
    found = store.read(f"SELECT digest {_EVALUATED} AND parent IS NULL AND {_VALIDATED} AND nodes.task = ?", (task,))
    return workflow_of(store, str(found[0][0])) if found else None


def best_node(store: Reads) -> dict[str, JSON] | None:
    """The node of the best workflow, as in `all_nodes`; None for a run without a node."""
    closing_words = last_report(store)
    if closing_words and closing_words["nodes"] == _count(store):
        wanted = [closing_words["digest"]]
    else:
        wanted = _leading_validated(store, None, 1) or _leading_trained(store, None, 1)
    order = f"{_VALIDATED} DESC, score DESC, sessions.step, nodes.session, round"
    sql = f"SELECT {_prefixed(_NODE_COLUMNS)} {_EVALUATED} AND digest = ? ORDER BY {order} LIMIT 1"
    return next((_node(row) for digest in wanted for row in store.read(sql, (digest,))), None)


def all_nodes(store: Reads) -> list[dict[str, JSON]]:
    """Every evaluated node, by session and round; the names are what `aflow-env show --json` prints."""
    sql = f"SELECT {_NODE_COLUMNS} FROM nodes WHERE score IS NOT NULL ORDER BY session, round"
    return [_node(row) for row in store.read(sql)]


def overview(store: Reads) -> dict[str, JSON]:
    """What `show` and `search` print with `--json`: the best node, all nodes, and the cost in USD."""
    return {"best": best_node(store), "nodes": all_nodes(store), "cost_usd": spent_usd(store)}


def rejections(store: Reads) -> int:
    """How many rounds ended with an action that was not run."""
    return int(str(store.read("SELECT count(*) FROM nodes WHERE score IS NULL")[0][0]))


def stopped(store: Reads) -> dict[str, str]:
    """Session -> why it stopped; sessions that still go on, or were cut off, are absent."""
    rows = store.read("SELECT id, state FROM sessions ORDER BY id")
    states = {str(session): json.loads(str(state)) for session, state in rows}
    return {session: str(state["stopped"]) for session, state in states.items() if state and "stopped" in state}


def last_report(store: Reads) -> dict[str, JSON] | None:
    """What the last closing report said: `digest`, `nodes` (how many there were), `start`, `best`, `test` figures."""
    rows = store.read("SELECT data FROM events WHERE kind = 'report' ORDER BY id DESC LIMIT 1")
    found: dict[str, JSON] | None = json.loads(str(rows[0][0])) if rows else None
    return found


def save_report(store: Store, digest: str, figures: dict[str, JSON]) -> None:
    """Save the closing report's figures with the number of nodes that they are about."""
    store.event("report", {"digest": digest, "nodes": _count(store), **figures})


def spent_usd(store: Reads) -> float:
    """What the run cost in USD: its ledger's account of every call, or without one what its evaluations cost."""
    ledger = store.path.with_name("ledger.sqlite")
    if ledger.is_file():
        with storing(ledger), closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True)) as database:
            begun = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'spent'").fetchone()
            if begun:
                return float(database.execute("SELECT TOTAL(picos) FROM spent").fetchone()[0]) / PICO
    return float(str(store.read("SELECT TOTAL(cost_usd) FROM evaluations")[0][0]))


def _leading_validated(store: Reads, task: str | None, count: int) -> list[str]:
    rows = store.read(
        f"SELECT digest, avg(score) AS mean, count(*) AS often {_EVALUATED} AND {_VALIDATED} "
        "AND (? IS NULL OR nodes.task = ?) GROUP BY digest ORDER BY mean DESC, often DESC, min(round), digest LIMIT ?",
        (task, task, count),
    )
    return [str(row[0]) for row in rows]


def _leading_trained(store: Reads, task: str | None, count: int) -> list[str]:
    rows = store.read(
        f"SELECT digest, sum(score * n) / sum(n), sum(n), min(round) {_EVALUATED} AND NOT {_VALIDATED} AND n > 0 "
        "AND (? IS NULL OR nodes.task = ?) GROUP BY digest",
        (task, task),
    )
    bounds = {str(digest): (-_least(float(str(mean)), int(str(n))), first, digest) for digest, mean, n, first in rows}
    return sorted(bounds, key=lambda digest: bounds[digest])[:count]


def _least(mean: float, n: int) -> float:
    centre, half = wilson(mean, n)
    return centre - half


def _count(store: Reads) -> int:
    return int(str(store.read("SELECT count(*) FROM nodes WHERE score IS NOT NULL")[0][0]))


def _prefixed(columns: str) -> str:
    return ", ".join(f"nodes.{name}" for name in columns.split(", "))


def _node(row: tuple[JSON, ...]) -> dict[str, JSON]:
    found = dict(zip(_NODE_COLUMNS.split(", "), row, strict=True))
    low, high = found.pop("low"), found.pop("high")
    tokens = {"input": found.pop("input_tokens"), "output": found.pop("output_tokens")}
    outcomes = json.loads(found.pop("outcomes"))
    q = (json.loads(found.pop("payload") or "null") or {}).get("q")
    return {**found, "q": q, "ci95": [low, high], "outcomes": outcomes, "tokens": tokens}
