# SPDX-License-Identifier: Apache-2.0
"""Questions that a finished run answers from its store: which workflows lead, which nodes there are, what they "
"cost."""

import json
from typing import Any

from aflow_env.search.store import Store
from aflow_env.workflow.program import Workflow


def leaders(store: Store, task: str, count: int) -> list[Workflow]:
    """The `count` workflows with the best mean score, those scored on validate problems first.

    A workflow that several sessions scored counts with the mean over its nodes; ties go to the one scored more often.
    Sessions of validation and of a stand-alone search score on validate problems, training sessions on training
    problems.
    """
    rows = store.read(
        "SELECT min(program), max(sessions.problem NOT LIKE 'train/%') AS validated, avg(score) AS mean, count(*) AS "
        "often "
        "FROM nodes JOIN sessions ON sessions.id = nodes.session WHERE nodes.task = ? AND score IS NOT NULL "
        "GROUP BY digest ORDER BY validated DESC, mean DESC, often DESC, digest LIMIT ?",
        (task, count),
    )
    found = []
    for program, *_ in rows:
        [(graph, prompts)] = store.read("SELECT graph, prompts FROM programs WHERE id = ?", (program,))
        found.append(Workflow(str(graph), str(prompts)))
    return found


def all_nodes(store: Store) -> list[dict[str, Any]]:
    """Every evaluated node, by session and round; the names are what `aflow-env show --json` prints."""
    columns = "session, round, parent, digest, score, low, high, n, modification, outcomes, cost_usd"
    rows = store.read(f"SELECT {columns} FROM nodes WHERE score IS NOT NULL ORDER BY session, round", ())
    nodes = []
    for session, round_, parent, digest, score, low, high, n, modification, outcomes, cost in rows:
        nodes.append(
            {
                "session": session,
                "round": round_,
                "parent": parent,
                "digest": digest,
                "score": score,
                "ci95": [low, high],
                "n": n,
                "modification": modification,
                "outcomes": json.loads(str(outcomes)),
                "cost_usd": cost,
            }
        )
    return nodes


def spent_usd(store: Store) -> float:
    """What the run's evaluations cost when they were run, in USD;

    calls of proposers and implementers are in its ledger.
    """
    return float(store.read("SELECT coalesce(sum(cost_usd), 0.0) FROM evaluations", ())[0][0] or 0.0)
