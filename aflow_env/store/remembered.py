# SPDX-License-Identifier: Apache-2.0
"""What earlier searches found below a workflow: data for Q, beside the policy's belief and this session's children.

    Q = (n0 * Q_theta + sum of the latest m best children elsewhere + sum of own children) / (n0 + m + n)

An expansion of the same program, by digest, in an earlier training step (or in another run, `q.memory_run`) is an
observation of just what Q_theta is asked for: the best child's score. Each session and node gives one. As with
experience, sessions that run beside this one are not looked at, so what is remembered does not depend on chance, nor
those of this run's validation.

Honest limits: scores on other problems, found by proposals of older weights; a workflow that nobody met before is not
remembered. It is a table, and generalises to nothing.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aflow_env.config import AflowConfig
from aflow_env.soon import Soon, soon
from aflow_env.store.database import TAUGHT, Row, Value
from aflow_env.store.reading import ReadOnlyStore, store_file

_NEVER = 2**62
_SCAN = 32
"""Expansions looked at for each best child wanted: a node of one session has rarely more."""


class Readable(Protocol):
    """A run's store, or who answers for it."""

    def read(self, sql: str, arguments: tuple[Value, ...] = (), /) -> Soon[list[Row]]: ...


@dataclass(frozen=True)
class Memory:
    """The latest `size` best children of a workflow in sessions of earlier steps; in all sessions where `foreign`."""

    store: Readable
    task: str
    size: int
    foreign: bool = False
    _known: dict[tuple[str, int], tuple[float, ...]] = field(default_factory=dict)

    async def best_children(self, digest: str, step: int) -> tuple[float, ...]:
        """Scores in [0, 1], the latest first, at most `size`. Earlier steps stand still, so each is read once."""
        before, which = (_NEVER, "true") if self.foreign else (step, TAUGHT)
        if (digest, before) not in self._known:
            latest = (
                "SELECT step, session, parent, score FROM nodes WHERE task = ? AND parent_digest = ? AND step < ? "
                f"AND {which} AND score IS NOT NULL ORDER BY step DESC, session DESC, round DESC LIMIT ?"
            )
            sql = f"SELECT max(score) FROM ({latest}) GROUP BY step, session, parent ORDER BY step DESC, session DESC"
            rows = await soon(self.store.read(sql, (self.task, digest, before, _SCAN * self.size)))
            self._known[digest, before] = tuple(float(str(row[0])) for row in rows[: self.size])
        return self._known[digest, before]

    def close(self) -> None:
        """Close what was opened for it."""
        if isinstance(self.store, ReadOnlyStore):
            self.store.close()


def open_memory(config: AflowConfig, task: str, own: Readable) -> Memory | None:
    """The memory that `q.memory` asks for. Raises ConfigError where `q.memory_run` names no run."""
    if not config.q.memory:
        return None
    if config.q.memory_run is None:
        return Memory(own, task, config.q.memory)
    return Memory(ReadOnlyStore(memory_file(config.q.memory_run)), task, config.q.memory, foreign=True)


def memory_file(run: str) -> Path:
    """The store of the run that remembers. Raises ConfigError where there is none."""
    return store_file("q.memory_run", run, "an earlier")
