# SPDX-License-Identifier: Apache-2.0
"""What a training run tells a tracker about its search: figures, the leading workflows, predictions. Plain data."""

import difflib
from collections.abc import Sequence
from typing import Any

from aflow_env.report.runs import RunRecord
from aflow_env.store.findings import best_node, rejections, spent_usd
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
    """The best score so far with its interval, and what was spent for it: rounds, USD, seconds of this process.

    The best score is on validate problems as soon as one workflow was scored there. Empty before the first round.
    """
    best = best_node(store)
    if best is None:
        return {}
    evaluated = int(str(store.read("SELECT count(*) FROM nodes WHERE score IS NOT NULL")[0][0]))
    rejected = rejections(store)
    programs = int(str(store.read("SELECT count(DISTINCT digest) FROM programs")[0][0]))
    return {
        "aflow/run/best_score": best["score"],
        "aflow/run/best_score_low": best["ci95"][0],
        "aflow/run/best_score_high": best["ci95"][1],
        "aflow/run/best_score_n": float(best["n"]),
        "aflow/run/rounds": float(evaluated + rejected),
        "aflow/run/nodes": float(evaluated),
        "aflow/run/workflows": float(programs),
        "aflow/run/rejected_share": rejected / (evaluated + rejected),
        "aflow/run/cost_usd": spent_usd(store),
        "aflow/run/seconds": seconds,
    }


def top_workflows(store: Reads, count: int = 10) -> list[tuple[Any, ...]]:
    """Rows of TOP_COLUMNS, the best first, those that were scored on validate problems before the others."""
    rows = []
    for *facts, graph, prompts, graph_before, prompts_before in store.read(_TOP, (count,)):
        before, after = [str(graph_before), str(prompts_before)], [str(graph), str(prompts)]
        rows.append((*facts, graph, prompts, _difference(before, after) if graph_before else ""))
    return rows


def predictions(run: RunRecord) -> list[tuple[float, float]]:
    """(the predicted score of an edit, the score that came of it)."""
    return [pair for pairs in predictions_by_session(run) for pair in pairs]


def predictions_by_session(run: RunRecord) -> list[list[tuple[float, float]]]:
    """The same, session by session."""
    found: dict[str, list[tuple[float, float]]] = {}
    for each in run.rounds:
        if each.q is not None and each.score is not None:
            found.setdefault(each.session, []).append((each.q, each.score))
    return list(found.values())


def _difference(before: Sequence[str], after: Sequence[str]) -> str:
    """The lines that differ, marked as in a unified diff."""
    old, new = ("\n".join(texts).splitlines() for texts in (before, after))
    lines = difflib.unified_diff(old, new, "parent", "workflow", n=1, lineterm="")
    return "\n".join(lines)
