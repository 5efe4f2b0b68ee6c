# SPDX-License-Identifier: Apache-2.0
"""A run's SQLite file, safe for several processes of one machine that write at once and may be killed at any instant.

WAL journal, a busy timeout, one immediate transaction a write. With synchronous=NORMAL a commit is in the operating
system's hands when `write` returns: `kill -9` of any process loses nothing that was committed. A power cut or a kernel
crash may lose the last commits; the file stays consistent, and a search pays for those again. WAL needs shared memory,
so the file must lie on a local disk: no other machine and no network file system.

The tables are readable with plain SQL; JSON columns hold JSON text.

- sessions: one search from a start workflow; `id` is "problem/seed/step/session".
- nodes: one row a round that ended. A rejected round has a `reason` and no score. `before` and `parent_digest` are the
  parent's, so that the view `experience` reads this table alone. `parent_digest` is cleared when a training run goes on
  from a checkpoint before the node's step.
- proposals: every edit that was drawn of a node to choose from, open, evaluated or rejected (`reason`); `drawn` is how
  many rounds had begun by then.
- programs: the text of workflows, by its hash. `digest` is the workflow's own.
- problem_sets: which results, in order, a node's evaluation was made of: [[problem_digest, repeat, problem_id], ...].
- evaluations: a workflow's run on a problem and repeat under an executor's settings; only runs that count.
  `feedback` is the scorer's text, `trace` the steps of a run that is not correct.
- completions: every LLM call that was paid for, by the request's key.
- events: everything else (failures of the world, stops), with wall-clock time.
- meta: the identity of the run (its config).
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.files import storing, writing

BUSY_SECONDS = 60.0
CHECKPOINT_PAGES = 8000
"""How far (32 MB) the journal grows before a write waits for it to be moved into the file and synchronised."""
Value = str | int | float | bytes | None
Row = tuple[Any, ...]


class Database:
    """A connection to a file of a known schema; it makes the file when there is none. Threads may share it.

    `application_id` marks files as ours, `version` is the schema's (`PRAGMA user_version`), `schema` the statements
    that create it. Raises ConfigError for a file that is not ours, is newer, or is not SQLite at all.
    """

    def __init__(self, path: Path, schema: Sequence[str], version: int, application_id: int) -> None:
        self.path = path
        self._lock = threading.RLock()
        with writing(path.parent, "run_dir"):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise ConfigError(f"run_dir={path.parent}: cannot open {path.name} ({error}); name another") from error
        try:
            self._prepare(schema, version, application_id)
        except sqlite3.OperationalError as error:
            self._connection.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise InfrastructureError(f"{path}: {error}; make room, or name another run_dir") from error
            raise ConfigError(f"{path} cannot be used ({error}): name a run_dir that can be written") from error
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ConfigError(f"{path} is damaged or is not a SQLite file ({error}): move it away") from error
        except BaseException:
            self._connection.close()
            raise

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Return all rows of a query. Raises InfrastructureError when the file cannot be read."""
        with self._lock, storing(self.path):
            return self._connection.execute(sql, arguments).fetchall()

    def stream(self, sql: str, arguments: Sequence[Value] = ()) -> Iterator[Row]:
        """Yield the rows of a query one by one, for results too large for memory."""
        with storing(self.path):
            yield from self._connection.execute(sql, arguments)

    @contextmanager
    def write(self) -> Iterator["Writer"]:
        """Open a transaction, which is on file whole or not at all when the block ends. Raises InfrastructureError."""
        with self._lock, storing(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield Writer(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection; the file is complete without this."""
        with self._lock:
            self._connection.close()

    def _prepare(self, schema: Sequence[str], version: int, application_id: int) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        empty = not self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        found = self._pragma("user_version")
        if found > version:
            raise ConfigError(
                f"{self.path} has schema {found}, and this aflow_env knows schemas up to {version}: "
                "upgrade aflow_env, or name another run_dir"
            )
        if not empty and self._pragma("application_id") != application_id:
            raise ConfigError(f"{self.path} is a SQLite file, but not of aflow_env: name another run_dir")
        if not empty and found < version:
            raise ConfigError(
                f"{self.path} has schema {found}, and this aflow_env writes {version}: name another run_dir"
            )
        self._to_wal()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        if empty:
            self._create(schema, version, application_id)

    def _create(self, schema: Sequence[str], version: int, application_id: int) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        if self._pragma("user_version") < version:  # else another process was quicker
            for statement in schema:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {application_id}")
            self._connection.execute(f"PRAGMA user_version = {version}")
        self._connection.execute("COMMIT")

    def _to_wal(self) -> None:
        """Switch to WAL; SQLite's busy timeout does not cover this, so two first openers take turns here."""
        deadline = time.monotonic() + BUSY_SECONDS
        while self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])


class Writer:
    """The statements of a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, arguments: Sequence[Value] = ()) -> int:
        """Execute one statement; return the number of rows that it changed."""
        return self._connection.execute(sql, arguments).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute one statement for each row."""
        self._connection.executemany(sql, rows)

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Return all rows of a query, as of this transaction."""
        return self._connection.execute(sql, arguments).fetchall()


VERSION = 3
APPLICATION_ID = 0x61666C77  # "aflw"
NOT_VALIDATION = "session NOT LIKE 'validate/%'"
"""The sessions whose rounds later steps may learn from: all but those of a training run's validation."""

SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE sessions (
        id TEXT PRIMARY KEY, problem TEXT NOT NULL, seed INTEGER NOT NULL, step INTEGER NOT NULL, session TEXT NOT NULL,
        task TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'null'
    ) WITHOUT ROWID""",
    "CREATE TABLE programs (id TEXT PRIMARY KEY, digest TEXT NOT NULL, graph TEXT NOT NULL, prompts TEXT NOT NULL)",
    "CREATE TABLE problem_sets (id TEXT PRIMARY KEY, problems TEXT NOT NULL)",
    """CREATE TABLE nodes (
        session TEXT NOT NULL REFERENCES sessions (id), round INTEGER NOT NULL, parent INTEGER, task TEXT NOT NULL,
        step INTEGER NOT NULL, modification TEXT NOT NULL, edit TEXT NOT NULL, reason TEXT, parent_digest TEXT, before
        REAL, program TEXT REFERENCES programs (id), digest TEXT, executor_key TEXT, score REAL, low REAL, high REAL,
        n INTEGER, outcomes TEXT, cost_usd REAL, input_tokens INTEGER, output_tokens INTEGER, calls INTEGER,
        truncated INTEGER, unpriced INTEGER, cache_hits INTEGER, spent_usd REAL,
        problem_set TEXT REFERENCES problem_sets (id), uncounted TEXT, payload
        TEXT, PRIMARY KEY (session, round)
    )""",
    """CREATE TABLE proposals (
        session TEXT NOT NULL REFERENCES sessions (id), node INTEGER NOT NULL, ordinal INTEGER NOT NULL, drawn INTEGER
        NOT NULL, text TEXT NOT NULL, modification TEXT NOT NULL, digest TEXT, reason TEXT NOT NULL, program TEXT
        REFERENCES programs (id), PRIMARY KEY (session, node, ordinal)
    ) WITHOUT ROWID""",
    "CREATE INDEX nodes_latest ON nodes (task, parent_digest, step, session, round)",
    """CREATE INDEX nodes_gain ON nodes (task, parent_digest, score - before, step, session, round)
        WHERE score > before""",
    """CREATE VIEW experience AS
        SELECT task, parent_digest, step, session, round, modification, before, score AS after, score > before AS
        succeeded, CASE WHEN score IS NULL THEN 'rejected' ELSE 'evaluated' END AS outcome, coalesce(reason, '') AS
        reason
        FROM nodes WHERE parent_digest IS NOT NULL""",
    """CREATE TABLE evaluations (
        digest TEXT NOT NULL, executor_key TEXT NOT NULL, problem_digest TEXT NOT NULL, repeat INTEGER NOT NULL,
        problem_id TEXT NOT NULL, outcome TEXT NOT NULL, score REAL NOT NULL, answer TEXT NOT NULL, seconds REAL NOT
        NULL, cost_usd REAL NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, calls INTEGER NOT
        NULL, error TEXT NOT NULL, truncated INTEGER NOT NULL, unpriced INTEGER NOT NULL, feedback TEXT NOT NULL,
        trace TEXT NOT NULL,
        PRIMARY KEY (digest, executor_key, problem_digest, repeat)
    ) WITHOUT ROWID""",
    """CREATE TABLE completions (
        key TEXT PRIMARY KEY, model TEXT NOT NULL, request TEXT NOT NULL, response TEXT NOT NULL,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL,
        time REAL NOT NULL
    )""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY, time REAL NOT NULL, session TEXT, kind TEXT NOT NULL, data TEXT NOT NULL
    )""",
)
