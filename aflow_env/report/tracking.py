# SPDX-License-Identifier: Apache-2.0
"""Facts of a run for a tracker: figures, the leading workflows, predictions. Plain data."""

import difflib
from typing import Any

from aflow_env.report.runs import RunRecord
from aflow_env.store.findings import best_node, evaluated, rejections, spent_usd
from aflow_env.store.read_only import Reads

TOP_COLUMNS = ("score", "low", "high", "n", "digest", "step", "modification", "graph", "prompts", "diff to parent")
_TOP = """
SELECT nodes.score, nodes.low, nodes.high, nodes.n, nodes.digest, nodes.step, nodes.modification, programs.graph,
    programs.prompts, before.graph, before.prompts
FROM nodes JOIN programs ON programs.id = nodes.program
LEFT JOIN nodes AS parents ON parents.session = nodes.session AND parents.round = nodes.parent
LEFT JOIN programs AS before ON before.id = parents.program
WHERE nodes.score IS NOT NULL
GROUP BY nodes.digest HAVING nodes.score = max(nodes.score)
ORDER BY nodes.session LIKE 'train/%', nodes.score DESC, nodes.n DESC, nodes.digest LIMIT ?
"""


def run_figures(store: Reads, seconds: float) -> dict[str, float]:
    """Return the best score so far with its interval, and its price: rounds, USD, seconds of this process.

    USD is left out where a price is unknown. The best score is on validate problems as soon as one workflow was scored
    there. Empty before the first round.
    """
    best = best_node(store)
    if best is None:
        return {}
    nodes, rejected, usd = evaluated(store), rejections(store), spent_usd(store)
    return {
        "aflow/run/best_score": best["score"],
        "aflow/run/best_score_low": best["ci95"][0],
        "aflow/run/best_score_high": best["ci95"][1],
        "aflow/run/best_score_n": float(best["n"]),
        "aflow/run/rounds": float(nodes + rejected),
        "aflow/run/nodes": float(nodes),
        "aflow/run/calls": float(store.read("SELECT coalesce(sum(calls), 0) FROM nodes")[0][0]),
        "aflow/run/workflows": float(store.read("SELECT count(DISTINCT digest) FROM programs")[0][0]),
        "aflow/run/rejected_share": rejected / (nodes + rejected),
        "aflow/run/seconds": seconds,
    } | ({} if usd is None else {"aflow/run/cost_usd": usd})


def top_workflows(store: Reads, count: int = 10) -> list[tuple[Any, ...]]:
    """Return rows of TOP_COLUMNS, the best first, workflows that were scored on validate problems before the others."""
    rows = []
    for *facts, graph, prompts, graph_before, prompts_before in store.read(_TOP, (count,)):
        old, new = f"{graph_before}\n{prompts_before}".splitlines(), f"{graph}\n{prompts}".splitlines()
        difference = "\n".join(difflib.unified_diff(old, new, "parent", "workflow", n=1, lineterm=""))
        rows.append((*facts, graph, prompts, difference if graph_before else ""))
    return rows


def predictions(run: RunRecord) -> list[tuple[float, float]]:
    """Return (predicted, realised) score of each evaluated edit that was predicted."""
    return [pair for pairs in predictions_by_session(run) for pair in pairs]


def predictions_by_session(run: RunRecord) -> list[list[tuple[float, float]]]:
    """Return the same, session by session."""
    found: dict[str, list[tuple[float, float]]] = {}
    for each in run.rounds:
        if each.q is not None and each.score is not None:
            found.setdefault(each.session, []).append((each.q, each.score))
    return list(found.values())
