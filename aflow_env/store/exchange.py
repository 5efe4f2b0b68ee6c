# SPDX-License-Identifier: Apache-2.0
"""Between a run's store and AFlow's workspace.

An imported round is a node with AFlow's own figures: its executor's scores, under the executor key "aflow", so that no
result of ours is ever taken for one of AFlow's or the other way round. Where AFlow saved a score for each problem the
interval comes from those; else `n` is 0 and the interval is [0, 1]: nobody knows. A search that goes on from there
compares new scores with AFlow's, so use the same executor and problems; the closing report evaluates again.
"""

import math
from collections.abc import Mapping
from datetime import datetime

from aflow_env.evaluation.results import COUNTED, Evaluation, Outcome, ProblemResult, interval95
from aflow_env.store.node_rows import Node
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks.base import Problem
from aflow_env.workflow.aflow.aflow_workspace import JSON, AflowRound, Workspace

EXECUTOR_KEY = "aflow"


def import_workspace(store: Store, key: SessionKey, task: str, workspace: Workspace) -> None:
    """Record every round as part of one session; recorded rounds stay, so it can be done again."""
    store.open_session(key, task)
    for each in workspace.rounds:
        experience = each.experience or {}
        modification = str(experience.get("modification", "start"))
        node = Node(each.number, each.father, each.workflow, evaluation_of(each), modification)
        store.record(key, node, {"aflow": {"results": each.results, "experience": each.experience, "log": each.log}})


def evaluation_of(each: AflowRound) -> Evaluation:
    """AFlow's figures of a round; it saves none by problem."""
    return Evaluation(
        digest=each.workflow.digest,
        executor_key=EXECUTOR_KEY,
        score=each.score,
        ci95=interval95(each.scores) if each.scores else (0.0, 1.0),
        n=len(each.scores),
        outcomes={},
        cost_usd=math.fsum(float(entry.get("total_cost") or 0.0) for entry in each.results),
        input_tokens=0,
        output_tokens=0,
        calls=0,
        cache_hits=0,
        spent_usd=0.0,
        results=(),
    )


def workspace_of(store: Store, key: SessionKey, dataset: str, problems: Mapping[str, Problem]) -> Workspace:
    """A session as AFlow would have left it. `problems`, by digest, give the texts of failed cases."""
    session = store.session(key)
    nodes = {node.round: node for node in session.ended if isinstance(node, Node)}
    rounds = []
    for node in nodes.values():
        imported = (session.payloads.get(node.round) or {}).get("aflow")
        if imported:
            rounds.append(
                AflowRound(
                    node.round,
                    node.workflow,
                    tuple(imported["results"]),
                    imported["experience"],
                    tuple(imported["log"]),
                )
            )
            continue
        rounds.append(
            AflowRound(node.round, node.workflow, _results(node), _experience(node, nodes), tuple(_log(node, problems)))
        )
    return Workspace(dataset, tuple(rounds))


def _results(node: Node) -> tuple[dict[str, JSON], ...]:
    """An entry of results.json for each repeat."""
    runs: dict[int, list[ProblemResult]] = {}
    for result in node.evaluation.results:
        if result.outcome in COUNTED:
            runs.setdefault(result.repeat, []).append(result)
    entries = []
    for results in runs.values():
        cost = math.fsum(result.cost_usd for result in results)
        entries.append(
            {
                "round": node.round,
                "score": math.fsum(result.score for result in results) / len(results),
                "avg_cost": cost / len(results),
                "total_cost": cost,
                "time": str(datetime.now()),
            }
        )
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
    """The wrong answers, as AFlow logs them; those whose problem is at hand."""
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
