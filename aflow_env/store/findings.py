# SPDX-License-Identifier: Apache-2.0
"""Questions that a run answers from its store: the best workflow, the nodes, the cost.

The best workflow is the choice of the closing report, unless the search went on since. Without a report it is the
leader: the workflow with the best mean score, less the weighted cost, over its nodes on validate problems. Among equals
the workflow that was scored more often leads, then the earlier one. Where none was scored there, the leader is the one
of the training problems, by the lower end of the interval of all runs: a mean over one small draw of problems is often
luck.

The front holds each workflow that no other beats in both score and cost. Its scores are those of the search, means over
the nodes of a workflow on validate problems (on training problems where nothing was validated), and its costs are USD
of a problem. A workflow with a call of unknown price has no place there.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TypeVar

from aflow_env.evaluation.results import wilson
from aflow_env.files import Row, SharedFile, storing
from aflow_env.llm.budget import AMOUNTS, Spend
from aflow_env.store.database import JSON, USD_A_PROBLEM, Reads
from aflow_env.store.settings import saved_text
from aflow_env.store.store import Store
from aflow_env.workflow.program import Workflow

T = TypeVar("T")
FRONT_COLUMNS = ("digest", "score", "n", "usd_a_problem", "session", "round", "modification")
_NODE_COLUMNS = (
    *("session", "round", "parent", "digest", "score", "low", "high", "n", "modification", "outcomes", "cost_usd"),
    *("input_tokens", "output_tokens", "calls", "truncated", "unpriced", "payload"),
)
_FAILED = ("problem_id", "outcome", "answer", "error", "feedback", "trace")
_VALIDATED = "sessions.problem NOT LIKE 'train/%'"
_EVALUATED = "FROM nodes JOIN sessions ON sessions.id = nodes.session WHERE score IS NOT NULL"


def leaders(store: Reads, task: str, count: int) -> list[Workflow]:
    """Return the `count` leading workflows of a task on validate problems, then as many on training problems.

    Sessions of validation and of a stand-alone search score on validate problems, training sessions on training
    problems. A workflow that led on both comes once.
    """
    found = dict.fromkeys([*_leading_validated(store, task, count), *_leading_trained(store, task, count)])
    return [workflow_of(store, digest) for digest in found]


def searched(store: Reads, digest: str, executor_key: str) -> list[tuple[str, int]]:
    """Return (problem digest, repeat) of each result that an evaluated node of a workflow is made of."""
    sql = (
        "SELECT DISTINCT problems FROM nodes JOIN problem_sets ON problem_sets.id = nodes.problem_set "
        "WHERE digest = ? AND executor_key = ?"
    )
    return [(key, repeat) for row in store.read(sql, (digest, executor_key)) for key, repeat, _ in json.loads(row[0])]


def workflow_of(store: Reads, digest: str) -> Workflow:
    """Return a stored workflow. Raises ValueError for a digest that is not in the store."""
    rows = store.read("SELECT graph, prompts FROM programs WHERE digest = ? ORDER BY rowid LIMIT 1", (digest,))
    if not rows:
        raise ValueError(f"no workflow with digest {digest} is stored")
    return Workflow(*rows[0])


def start_of(store: Reads, task: str) -> Workflow | None:
    """Return the start of the searches on validate problems, None before the first. An imported run has its own."""
    found = store.read(f"SELECT digest {_EVALUATED} AND parent IS NULL AND {_VALIDATED} AND nodes.task = ?", (task,))
    return workflow_of(store, found[0][0]) if found else None


def best_node(store: Reads) -> dict[str, JSON] | None:
    """Return the node of the best workflow, as in `all_nodes`, or None for a run without a node."""
    said = last_report(store)
    if said and said["nodes"] == evaluated(store):
        wanted = [said["digest"]]
    else:
        wanted = _leading_validated(store, None, 1) or _leading_trained(store, None, 1)
    which = f"AND digest = ? ORDER BY {_VALIDATED} DESC, score DESC, sessions.step, nodes.session, round LIMIT 1"
    return next((node for digest in wanted for node in _nodes(store, which, digest)), None)


def all_nodes(store: Reads) -> list[dict[str, JSON]]:
    """Return every evaluated node, by session and round. The names are the ones of `aflow-env show --json`."""
    return list(_nodes(store, "ORDER BY nodes.session, round"))


def overview(store: Reads) -> dict[str, JSON]:
    """Return the object of `show` and `search` with `--json`: the best node, all nodes, and the cost in USD."""
    paid = spent(store)
    return {"best": best_node(store), "nodes": all_nodes(store), "cost_usd": paid.usd, "unpriced": paid.unpriced}


def evaluated(store: Reads) -> int:
    """Count the nodes."""
    return int(store.read("SELECT count(*) FROM nodes WHERE score IS NOT NULL")[0][0])


def rejections(store: Reads) -> int:
    """Count the rounds that ended with an action that was not run."""
    return int(store.read("SELECT count(*) FROM nodes WHERE score IS NULL")[0][0])


def stopped(store: Reads) -> dict[str, str]:
    """Return session -> why it stopped. Sessions that still go on, or were cut off, are absent."""
    sql = "SELECT id, json_extract(state, '$.stopped') AS why FROM sessions WHERE why IS NOT NULL ORDER BY id"
    return {session: str(why) for session, why in store.read(sql)}


def last_report(store: Reads) -> dict[str, JSON] | None:
    """Return the last closing report: `digest`, `nodes` (how many there were), `start`, `best`, `test` figures."""
    rows = store.read("SELECT data FROM events WHERE kind = 'report' ORDER BY id DESC LIMIT 1")
    return dict(json.loads(rows[0][0])) if rows else None


def save_report(store: Store, digest: str, figures: dict[str, JSON]) -> None:
    """Save the closing report's figures with the number of nodes that they are about."""
    store.event("report", {"digest": digest, "nodes": evaluated(store), **figures})


def failed_cases(store: Reads, count: int, digest: str | None = None) -> dict[str, list[dict[str, JSON]]]:
    """Return digest -> the first `count` runs that are not correct, of one workflow or of all.

    They are on problems that nodes were scored on, so test problems stay unseen.
    """
    nth = "row_number() OVER (PARTITION BY digest ORDER BY problem_id, repeat)"
    searched = "SELECT json_extract(value, '$[0]') FROM problem_sets, json_each(problems)"
    failed = (
        f"SELECT *, {nth} AS nth FROM evaluations "
        f"WHERE outcome != 'correct' AND (? IS NULL OR digest = ?) AND problem_digest IN ({searched})"
    )
    sql = f"SELECT digest, {', '.join(_FAILED)} FROM ({failed}) WHERE nth <= ? ORDER BY digest, nth"
    found: dict[str, list[dict[str, JSON]]] = {}
    for workflow, *row in store.read(sql, (digest, digest, count)):
        found.setdefault(workflow, []).append(dict(zip(_FAILED, row, strict=True)))
    return found


def spent(store: Reads) -> Spend:
    """Return the run's bill: its ledger's account of every call, or without one the cost of its evaluations."""
    ledger = store.path.with_name("ledger.sqlite")
    if ledger.is_file():
        with storing(ledger), closing(SharedFile(ledger, "?mode=ro")) as database:
            if database.read("SELECT 1 FROM sqlite_master WHERE name = 'spent'"):
                sums = ", ".join(f"sum({name})" for name in AMOUNTS)
                return Spend(*database.read(f"SELECT {sums} FROM spent")[0])
    sums = "total(cost_usd) * 1e12, total(input_tokens + output_tokens), total(calls), total(unpriced)"
    return Spend(*map(round, store.read(f"SELECT {sums} FROM evaluations")[0]))


def spent_usd(store: Reads) -> float | None:
    """Return the run's bill in USD; None where a call has no known price."""
    paid = spent(store)
    return None if paid.unpriced else paid.usd


def pareto(found: Iterable[T], cost: Callable[[T], float], score: Callable[[T], float]) -> list[T]:
    """Return the items that no other beats in cost and score, the cheapest first; of equals the first."""
    front: list[T] = []
    for each in sorted(found, key=lambda each: (cost(each), -score(each))):
        if not front or score(each) > score(front[-1]):
            front.append(each)
    return front


def workflows(store: Reads) -> list[dict[str, JSON]]:
    """Return each evaluated workflow under FRONT_COLUMNS; `usd_a_problem` is None where a price is unknown."""
    sql = (
        f"SELECT digest, avg(score), sum(n), {USD_A_PROBLEM}, session, min(round), modification FROM nodes "
        "WHERE score IS NOT NULL AND n > 0 AND (session LIKE 'train/%') = ? GROUP BY digest ORDER BY min(round), digest"
    )
    return store.records(FRONT_COLUMNS, sql, (0,)) or store.records(FRONT_COLUMNS, sql, (1,))


def front(store: Reads) -> list[dict[str, JSON]]:
    """Return the workflows on the front, the cheapest first; none where no price is known."""
    priced = [each for each in workflows(store) if each["usd_a_problem"] is not None]
    return pareto(priced, lambda each: float(each["usd_a_problem"]), lambda each: float(each["score"]))


def front_lines(found: list[dict[str, JSON]], shown: int = 5) -> list[str]:
    """Return the front in words, a line a workflow, the best `shown` of them."""
    lines = [f"{each['score']:.3f}  {each['usd_a_problem']:.6f} USD a problem  {each['digest']}" for each in found]
    return lines[-shown:] or ["unknown: no price is known of these workflows' calls"]


def _leading_validated(store: Reads, task: str | None, count: int) -> list[str]:
    rows = store.read(
        f"SELECT digest, avg(score) - ? * coalesce({USD_A_PROBLEM}, 0) AS mean, count(*) AS often "
        f"{_EVALUATED} AND {_VALIDATED} "
        "AND (? IS NULL OR nodes.task = ?) GROUP BY digest ORDER BY mean DESC, often DESC, min(round), digest LIMIT ?",
        (_cost_weight(store), task, task, count),
    )
    return [row[0] for row in rows]


def _leading_trained(store: Reads, task: str | None, count: int) -> list[str]:
    weight = _cost_weight(store)
    rows = store.read(
        f"SELECT digest, sum(score * n) / sum(n), sum(n), min(round), coalesce({USD_A_PROBLEM}, 0) {_EVALUATED} "
        f"AND NOT {_VALIDATED} AND n > 0 AND (? IS NULL OR nodes.task = ?) GROUP BY digest",
        (task, task),
    )

    def order(row: Row) -> tuple[float, int, str]:
        digest, mean, n, first, usd = row
        centre, half = wilson(mean, n)
        return half - centre + weight * usd, first, digest

    return [row[0] for row in sorted(rows, key=order)[:count]]


def _cost_weight(store: Reads) -> float:
    """Return the run's `selection.cost_weight`, which no run may change on the way."""
    config = json.loads(saved_text(store) or "{}")
    return float(config.get("selection", {}).get("cost_weight", 0.0))


def _nodes(store: Reads, which: str, *arguments: str) -> Iterator[dict[str, JSON]]:
    names = ", ".join(f"nodes.{name}" for name in _NODE_COLUMNS)
    for found in store.records(_NODE_COLUMNS, f"SELECT {names} {_EVALUATED} {which}", arguments):
        low, high = found.pop("low"), found.pop("high")
        tokens = {"input": found.pop("input_tokens"), "output": found.pop("output_tokens")}
        outcomes, payload = json.loads(found["outcomes"]), json.loads(found.pop("payload") or "null") or {}
        yield {**found, "q": payload.get("q"), "ci95": [low, high], "outcomes": outcomes, "tokens": tokens}
