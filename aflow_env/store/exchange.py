# SPDX-License-Identifier: Apache-2.0
"""Read AFlow's workspace into a run's store, and write a session as AFlow's workspace.

An imported round is a node with AFlow's own figures under the executor key "aflow", so that results of the two are
never confused. Where AFlow saved no score for each problem, `n` is 0 and the interval is [0, 1]. A search that goes on
from there compares new scores with AFlow's, so use the same executor and problems.
"""

import math
from collections.abc import Mapping
from datetime import datetime

from aflow_env.evaluation.results import COUNTED, Evaluation, Outcome, ProblemResult, interval95
from aflow_env.store.node_rows import Node
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.aflow.aflow_workspace import JSON, AflowRound, Workspace

EXECUTOR_KEY = "aflow"


def import_workspace(store: Store, key: SessionKey, task: str, workspace: Workspace) -> None:
    """Record every round as part of one session. Recorded rounds stay, so it can be done again."""
    store.open_session(key, task)
    for each in workspace.rounds:
        experience = each.experience or {}
        modification = str(experience.get("modification", "start"))
        usd, n = math.fsum(float(entry.get("total_cost") or 0.0) for entry in each.results), len(each.scores)
        evaluation = Evaluation(  # AFlow saves no figures by problem
            digest=each.workflow.digest,
            executor_key=EXECUTOR_KEY,
            score=each.score,
            ci95=interval95(each.scores) if each.scores else (0.0, 1.0),
            n=n,
            outcomes={},
            cost_usd=usd,
            results=(),
            usd_a_problem=usd / n if n else None,
            **dict.fromkeys(("input_tokens", "output_tokens", "calls", "cache_hits", "spent_usd"), 0),
        )
        node = Node(each.number, each.father, each.workflow, evaluation, modification)
        store.record(key, node, {"aflow": {"results": each.results, "experience": each.experience, "log": each.log}})


def workspace_of(store: Store, key: SessionKey, dataset: str, problems: Mapping[str, Problem]) -> Workspace:
    """Return a session as AFlow would have left it. `problems`, by digest, give the texts of failed cases."""
    session = store.session(key)
    nodes = {node.round: node for node in session.ended if isinstance(node, Node)}
    rounds = []
    for node in nodes.values():
        imported = (session.payloads.get(node.round) or {}).get("aflow")
        if imported:
            saved = tuple(imported["results"]), imported["experience"], tuple(imported["log"])
        else:
            saved = _results(node), _experience(node, nodes), tuple(_log(node, problems))
        rounds.append(AflowRound(node.round, node.workflow, *saved))
    return Workspace(dataset, tuple(rounds))


def _results(node: Node) -> tuple[dict[str, JSON], ...]:
    """Return an entry of results.json for each repeat."""
    runs: dict[int, list[ProblemResult]] = {}
    for result in node.evaluation.results:
        if result.outcome in COUNTED:
            runs.setdefault(result.repeat, []).append(result)
    entries = []
    for results in runs.values():
        cost, score = (math.fsum(getattr(result, name) for result in results) for name in ("cost_usd", "score"))
        means = {"score": score / len(results), "avg_cost": cost / len(results), "total_cost": cost}
        entries.append({"round": node.round, **means, "time": str(datetime.now())})
    return tuple(entries)


def _experience(node: Node, nodes: Mapping[int, Node]) -> dict[str, JSON] | None:
    if node.parent is None:
        return None
    before = nodes[node.parent].score
    return {
        "father node": node.parent,
        "modification": node.modification,
        "before": before,
        "after": node.score,
        "succeed": node.score > before,
    }


def _log(node: Node, problems: Mapping[str, Problem]) -> list[JSON]:
    """Return the wrong answers, as AFlow logs them, where their problem is at hand."""
    return [
        {
            "question": problems[result.problem_digest].prompt,
            "right_answer": problems[result.problem_digest].answer,
            "model_output": result.answer,
            "extracted_output": result.answer,
            "extract_answer_code": "None",
        }
        for result in node.evaluation.results
        if result.outcome is Outcome.WRONG and result.problem_digest in problems
    ]
