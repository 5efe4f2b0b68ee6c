# SPDX-License-Identifier: Apache-2.0
"""The edits that were tried on a workflow before, and their results.

Entries belong to a (task, digest of the expanded workflow), so a session learns from all earlier ones that met the same
program (`Store.experience`). AFlow writes "absolutely prohibited" over successes too. Here they read as successes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


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
    def outcome(self) -> Literal["evaluated", "rejected"]:
        """Whether the change was run at all."""
        return "rejected" if self.after is None else "evaluated"

    @property
    def gain(self) -> float | None:
        """after - before, or None for a rejection."""
        return None if self.after is None else self.after - self.before

    @property
    def succeeded(self) -> bool:
        """Whether the change raised the score."""
        return self.gain is not None and self.gain > 0


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


def render(entries: Sequence[Entry], limit: int | None = None) -> str:
    """Write one line an entry, "" for none. Scores have two digits, so the text is stable and short."""
    chosen = list(entries) if limit is None else choose(entries, limit)
    return "\n".join(map(_line, chosen))


def _line(entry: Entry) -> str:
    if entry.after is None:
        return f"- rejected, not run: {entry.modification} ({entry.reason})"
    verdict = "helped" if entry.succeeded else "did not help" if entry.gain == 0 else "hurt"
    return f"- {verdict}: {entry.modification} ({entry.before:.2f} -> {entry.after:.2f})"
