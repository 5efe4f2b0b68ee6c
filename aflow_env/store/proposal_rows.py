# SPDX-License-Identifier: Apache-2.0
"""Proposals of a session as they were drawn, and evaluated workflows to learn from: rows of the store as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass

from aflow_env.store.database import Row, Value, Writer
from aflow_env.store.node_rows import program_row, storable
from aflow_env.store.read_only import Reads
from aflow_env.workflow.program import Workflow

COLUMNS = ("node", "ordinal", "drawn", "text", "modification", "digest", "reason")


@dataclass(frozen=True, slots=True)
class DrawnProposal:
    """The proposal number `ordinal` of an edit of the node of round `node`.

    `drawn` is how many rounds had begun when it was drawn. `workflow` is the program that it makes, and `digest` its
    digest; where it was rejected, for `reason`, there is none.
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


def save(writer: Writer, session: str, proposals: Sequence[DrawnProposal]) -> None:
    """Add the proposals to a session's, within a transaction; one that is there already stays as it is."""
    for each in proposals:
        program: Value = None
        if each.workflow is not None and each.digest is not None:
            row = program_row(each.workflow, each.digest)
            writer.run("INSERT OR IGNORE INTO programs VALUES (?, ?, ?, ?)", row)
            program = row[0]
        texts = (storable(each.text), storable(each.modification), each.digest, storable(each.reason))
        values = (session, each.node, each.ordinal, each.drawn, *texts, program)
        names = ", ".join(("session", *COLUMNS, "program"))
        writer.run(f"INSERT OR IGNORE INTO proposals ({names}) VALUES ({', '.join('?' * len(values))})", values)


def proposals_of(rows: Sequence[Row]) -> tuple[DrawnProposal, ...]:
    """The proposals of rows of SELECT."""
    found = []
    for *values, graph, prompts in rows:
        workflow = Workflow(str(graph), str(prompts)) if graph is not None else None
        node, ordinal, drawn, text, modification, digest, reason = values
        facts = (int(str(node)), int(str(ordinal)), int(str(drawn)), str(text), str(modification), workflow)
        found.append(DrawnProposal(*facts, None if digest is None else str(digest), str(reason)))
    return tuple(found)


SELECT = (
    f"SELECT {', '.join(f'proposals.{name}' for name in COLUMNS)}, graph, prompts FROM proposals LEFT JOIN programs "
    "ON programs.id = proposals.program WHERE session = ? ORDER BY node, ordinal"
)


def evaluated(store: Reads, task: str, before: int | None = None) -> list[Evaluated]:
    """Every evaluated node of a task, in order; with `before` those of training steps before it, validation left out.

    Validation measures a training run, so nothing in the run may learn from it.
    """
    some = "" if before is None else "AND step < ? AND session NOT LIKE 'validate/%'"
    rows = store.read(
        "SELECT graph, prompts, score, n FROM nodes JOIN programs ON programs.id = nodes.program "
        f"WHERE task = ? AND score IS NOT NULL AND n > 0 {some} ORDER BY step, session, round",
        (task,) if before is None else (task, before),
    )
    return [Evaluated(Workflow(str(g), str(p)), float(str(score)), int(str(n))) for g, p, score, n in rows]
