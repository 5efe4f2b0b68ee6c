# SPDX-License-Identifier: Apache-2.0
"""Workflows and edits to learn from: those that were tried before, and their results.

Entries belong to a (task, digest of the expanded workflow), so a session learns from all earlier ones that met the same
program (`Store.experience`). AFlow writes "absolutely prohibited" over successes too. Here they read as successes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aflow_env.store.database import NOT_VALIDATION, Reads
from aflow_env.workflow.program import Workflow


@dataclass(frozen=True)
class Entry:
    """One earlier expansion: `before` and `after` are the scores of parent and child. `after` is None for a rejection.

    `reason` is why an action was rejected.
    """

    modification: str
    before: float
    after: float | None
    reason: str = ""

    @property
    def gain(self) -> float | None:
        """after - before, or None for a rejection."""
        return None if self.after is None else self.after - self.before

    @property
    def succeeded(self) -> bool:
        """Whether the change raised the score."""
        return (self.gain or 0.0) > 0


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


def choose(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """Choose at most `limit` entries: the largest gains first, then the latest others. Both kinds when both are there.

    `entries` are in the order tried. Of entries that say the same only the latest stays.
    """
    latest = list(dict.fromkeys(reversed(entries)))
    gains = sorted((entry for entry in latest if entry.succeeded), key=lambda entry: -(entry.gain or 0.0))
    others = [entry for entry in latest if not entry.succeeded]
    room = limit - min(len(others), limit // 2)
    chosen = gains[:room]
    return chosen + others[: limit - len(chosen)]


def render(entries: Sequence[Entry]) -> str:
    """Write one line an entry, "" for none. Scores have two digits, so the text is stable and short."""
    return "\n".join(map(_line, entries))


def _line(entry: Entry) -> str:
    if entry.after is None:
        return f"- rejected, not run: {entry.modification} ({entry.reason})"
    verdict = "helped" if entry.succeeded else "did not help" if entry.gain == 0 else "hurt"
    return f"- {verdict}: {entry.modification} ({entry.before:.2f} -> {entry.after:.2f})"


def evaluated(store: Reads, task: str, before: int | None = None) -> list[Evaluated]:
    """Return every evaluated node of a task, in order. With `before` only nodes of training steps before it.

    `before` leaves out validation, which measures a training run: nothing in the run may learn from it.
    """
    some = "" if before is None else f"AND step < ? AND {NOT_VALIDATION}"
    rows = store.read(
        "SELECT graph, prompts, score, n FROM nodes JOIN programs ON programs.id = nodes.program "
        f"WHERE task = ? AND score IS NOT NULL AND n > 0 {some} ORDER BY step, session, round",
        (task,) if before is None else (task, before),
    )
    return [Evaluated(Workflow(graph, prompts), score, n) for graph, prompts, score, n in rows]


def validated(store: Reads, task: str, most: int) -> list[StoredAction]:
    """Return the first `most` actions of validation sessions, each pair of parent and child once."""
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
