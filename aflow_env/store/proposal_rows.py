# SPDX-License-Identifier: Apache-2.0
"""Rows of the store as plain data: proposals as they were drawn, and evaluated workflows and edits to learn from."""

from collections.abc import Sequence
from dataclasses import dataclass

from aflow_env.files import Row, SharedFile
from aflow_env.store.node_rows import program_row, storable
from aflow_env.store.read_only import Reads
from aflow_env.workflow.program import Workflow

COLUMNS = ("node", "ordinal", "drawn", "text", "modification", "digest", "reason")


@dataclass(frozen=True, slots=True)
class DrawnProposal:
    """The proposal number `ordinal` of an edit of the node of round `node`.

    `drawn` is how many rounds had begun when it was drawn. `workflow` is the program that it makes, and `digest` its
    digest. A proposal that was rejected, for `reason`, has neither.
    """

    node: int
    ordinal: int
    drawn: int
    text: str
    modification: str = ""
    workflow: Workflow | None = None
    digest: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A workflow, its score, and the number of problems behind it."""

    workflow: Workflow
    score: float
    n: int


@dataclass(frozen=True, slots=True)
class StoredAction:
    """An edit of a workflow that was evaluated, and the scores before and after it."""

    parent: Workflow
    parent_digest: str
    before: float
    n: int
    text: str
    child: Workflow
    score: float


def save(database: SharedFile, session: str, proposals: Sequence[DrawnProposal]) -> None:
    """Add the proposals to a session's, within a transaction. One that is there already stays as it is."""
    names = ", ".join(("session", *COLUMNS, "program"))
    for each in proposals:
        program = None
        if each.workflow is not None and each.digest is not None:
            program, *_ = row = program_row(each.workflow, each.digest)
            database.execute("INSERT OR IGNORE INTO programs VALUES (?, ?, ?, ?)", row)
        texts = (storable(each.text), storable(each.modification), each.digest, storable(each.reason))
        values = (session, each.node, each.ordinal, each.drawn, *texts, program)
        database.execute(f"INSERT OR IGNORE INTO proposals ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def proposals_of(rows: Sequence[Row]) -> tuple[DrawnProposal, ...]:
    """Return the proposals of rows of SELECT."""
    found = []
    for node, ordinal, drawn, text, modification, digest, reason, graph, prompts in rows:
        workflow = None if graph is None else Workflow(graph, prompts)
        found.append(DrawnProposal(node, ordinal, drawn, text, modification, workflow, digest, reason))
    return tuple(found)


SELECT = (
    f"SELECT {', '.join(f'proposals.{name}' for name in COLUMNS)}, graph, prompts FROM proposals LEFT JOIN programs "
    "ON programs.id = proposals.program WHERE session = ? ORDER BY node, ordinal"
)


def evaluated(store: Reads, task: str, before: int | None = None) -> list[Evaluated]:
    """Return every evaluated node of a task, in order. With `before` only nodes of training steps before it.

    `before` leaves out validation, which measures a training run: nothing in the run may learn from it.
    """
    some = "" if before is None else "AND step < ? AND session NOT LIKE 'validate/%'"
    rows = store.read(
        "SELECT graph, prompts, score, n FROM nodes JOIN programs ON programs.id = nodes.program "
        f"WHERE task = ? AND score IS NOT NULL AND n > 0 {some} ORDER BY step, session, round",
        (task,) if before is None else (task, before),
    )
    return [Evaluated(Workflow(graph, prompts), score, n) for graph, prompts, score, n in rows]


def validated(store: Reads, task: str, most: int) -> list[StoredAction]:
    """Return the first `most` actions of validation sessions, on which nothing was trained.

    Each pair of parent and child comes once.
    """
    rows = store.read(
        "SELECT old.graph, old.prompts, parent.digest, parent.score, parent.n, child.edit, new.graph, new.prompts, "
        "child.score FROM nodes AS child "
        "JOIN nodes AS parent ON parent.session = child.session AND parent.round = child.parent "
        "JOIN programs AS old ON old.id = parent.program JOIN programs AS new ON new.id = child.program "
        "WHERE child.task = ? AND child.score IS NOT NULL AND child.session LIKE 'validate/%' "
        "GROUP BY parent.digest, child.digest ORDER BY min(child.step), child.digest LIMIT ?",
        (task, most),
    )
    found = []
    for graph, prompts, parent, before, n, edit, new_graph, new_prompts, score in rows:
        old, new = Workflow(graph, prompts), Workflow(new_graph, new_prompts)
        found.append(StoredAction(old, parent, before, n, edit, new, score))
    return found
