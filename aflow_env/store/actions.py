# SPDX-License-Identifier: Apache-2.0
"""Evaluated actions of a training run's validation: the edits that nothing in the run was trained on."""

from dataclasses import dataclass

from aflow_env.store.database import Row
from aflow_env.store.read_only import Reads
from aflow_env.workflow.program import Workflow

_SQL = """
SELECT old.graph, old.prompts, parent.digest, parent.score, parent.n,
       child.edit, new.graph, new.prompts, child.digest, child.score
FROM nodes AS child
JOIN nodes AS parent ON parent.session = child.session AND parent.round = child.parent
JOIN programs AS old ON old.id = parent.program
JOIN programs AS new ON new.id = child.program
WHERE child.task = ? AND child.score IS NOT NULL AND child.session LIKE 'validate/%'
GROUP BY parent.digest, child.digest
ORDER BY min(child.step), child.digest LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class StoredAction:
    """An edit of a workflow that was evaluated, and the scores before and after it."""

    parent: Workflow
    parent_digest: str
    before: float
    n: int
    text: str
    child: Workflow
    child_digest: str
    score: float


def validated(store: Reads, task: str, most: int) -> list[StoredAction]:
    """The first `most` actions of validation sessions, each pair of parent and child once."""
    return [_action(row) for row in store.read(_SQL, (task, most))]


def _action(row: Row) -> StoredAction:
    graph, prompts, parent, before, n, text, new_graph, new_prompts, child, score = row
    return StoredAction(
        parent=Workflow(str(graph), str(prompts)),
        parent_digest=str(parent),
        before=float(str(before)),
        n=int(str(n)),
        text=str(text),
        child=Workflow(str(new_graph), str(new_prompts)),
        child_digest=str(child),
        score=float(str(score)),
    )
