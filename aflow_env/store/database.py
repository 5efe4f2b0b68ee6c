# SPDX-License-Identifier: Apache-2.0
"""A run's SQLite file, safe for several processes of one machine that write at once and may be killed at any instant.

WAL journal, a busy timeout, one immediate transaction a write. With synchronous=NORMAL a commit is in the operating
system's hands when `write` returns: `kill -9` of any process loses nothing that was committed. A power cut or a kernel
crash may lose the last commits. The file stays consistent, and a search pays for them again. WAL needs shared memory,
so the file must lie on a local disk: no other machine and no network file system.

The tables are readable with plain SQL. JSON columns have JSON text.

- sessions: one search from a start workflow. `id` is "problem/seed/step/session".
- nodes: one row a round that ended. A rejected round has a `reason` and no score. `before` and `parent_digest` are the
  parent's, so that the view `experience` reads this table alone. `parent_digest` is cleared when a training run goes on
  from a checkpoint before the node's step.
- proposals: every edit that was drawn of a node to choose from, open, evaluated or rejected (`reason`). `drawn` is how
  many rounds had begun by then.
- programs: the text of workflows, by its hash. `digest` is the workflow's own.
- problem_sets: which results, in order, a node's evaluation was made of: [[problem_digest, repeat, problem_id], ...].
- evaluations: a workflow's run on a problem and repeat under an executor's settings. Only runs that count.
  `feedback` is the scorer's text, `trace` the steps of a run that is not correct.
- completions: every LLM call that was paid for, by the request's key.
- events: everything else (failures of the world, stops), with wall-clock time.
- meta: the identity of the run (its config).
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from aflow_env.errors import ConfigError, InfrastructureError
from aflow_env.files import FileOwner, Row, SharedFile, Value, writing

JSON = Any
CHECKPOINT_PAGES = 8000
"""How far (32 MB) the journal grows before a write waits for it to be moved into the file and synchronised."""
VERSION = 4
APPLICATION_ID = 0x61666C77  # "aflw"
NOT_VALIDATION = "session NOT LIKE 'validate/%'"
"""The sessions whose rounds later steps may learn from: all but the ones of a training run's validation."""
USD_A_PROBLEM = "CASE WHEN count(usd_a_problem) = sum(n > 0) THEN sum(usd_a_problem * n) / sum(n) END"
"""The cost of a problem over a group of nodes, as `evaluation.results.usd_a_problem` has it."""

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
        truncated INTEGER, unpriced INTEGER, usd_a_problem REAL, cache_hits INTEGER, spent_usd REAL,
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


class Reads(FileOwner):
    """A store that answers questions about a run. `path` is its SQLite file, which `opener` opens at its first use."""

    def __init__(self, path: Path, opener: Callable[[Path], SharedFile]) -> None:
        super().__init__(partial(opener, path))
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """Return all rows of a query. Raises InfrastructureError when the file cannot be read."""
        return self._database.read(sql, arguments)

    def records(self, names: Sequence[str], sql: str, arguments: Sequence[Value] = ()) -> list[dict[str, JSON]]:
        """Return all rows of a query under these names."""
        return [dict(zip(names, row, strict=True)) for row in self.read(sql, arguments)]

    def meta(self, name: str) -> str | None:
        """Return a property of the run, or None."""
        rows = self.read("SELECT value FROM meta WHERE key = ?", (name,))
        return rows[0][0] if rows else None


class ReadOnlyStore(Reads):
    """A run's store, opened to read it alone: nothing is made, converted or locked, and a search may write meanwhile.

    Raises ConfigError for a file that is not a run's store.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, _readable)
        self.open()


def store_file(key: str, run: str, which: str) -> Path:
    """Return the store of the run that a key names, by folder or file. Raises ConfigError where there is none."""
    path = Path(run)
    file = path if path.is_file() else path / "run.sqlite"
    if not file.is_file():
        raise ConfigError(f"{key}={run}: there is no run.sqlite; name the run_dir of {which} run")
    return file


def open_database(path: Path) -> SharedFile:
    """Open a run's file, or make it. Raises ConfigError for one that is newer, of another program, or no SQLite."""
    with writing(path.parent, "run_dir"):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _opened(path, "", _prepare)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise InfrastructureError(f"{path}: {error}; make room, or name another run_dir") from error
        raise ConfigError(f"{path} cannot be used ({error}): name a run_dir that can be written") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path} is damaged or is not a SQLite file ({error}): move it away") from error


def _readable(path: Path) -> SharedFile:
    try:
        try:
            return _opened(path, "?mode=ro", _check)
        except sqlite3.OperationalError:  # a folder that cannot be written has no shared memory, and needs none
            journal = path.with_name(f"{path.name}-wal")
            if journal.is_file() and journal.stat().st_size:
                raise ConfigError(f"{path} has commits in {journal.name}: copy both to a folder to write in") from None
            return _opened(path, "?mode=ro&immutable=1", _check)
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be read ({error}): name the run_dir of a search") from error


def _opened(path: Path, query: str, check: Callable[[SharedFile, Path], None]) -> SharedFile:
    database = SharedFile(path, query)
    try:
        check(database, path)
    except BaseException:
        database.close()
        raise
    return database


def _check(database: SharedFile, path: Path) -> None:
    if (_pragma(database, "application_id"), _pragma(database, "user_version")) != (APPLICATION_ID, VERSION):
        raise ConfigError(f"{path} is not a run's store, or one of another aflow_env: name the run_dir of a search")


def _prepare(database: SharedFile, path: Path) -> None:
    begun = database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()  # first: another process may begin
    found = _pragma(database, "user_version")
    if found > VERSION:
        raise ConfigError(
            f"{path} has schema {found}, and this aflow_env knows schemas up to {VERSION}: upgrade aflow_env, or name "
            "another run_dir"
        )
    if begun and _pragma(database, "application_id") != APPLICATION_ID:
        raise ConfigError(f"{path} is a SQLite file, but not of aflow_env: name another run_dir")
    if begun and found < VERSION:
        raise ConfigError(f"{path} has schema {found}, and this aflow_env writes {VERSION}: name another run_dir")
    database.to_wal()
    database.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    if begun:
        return
    database.execute("BEGIN IMMEDIATE")
    if _pragma(database, "user_version") < VERSION:  # else another process was quicker
        for statement in SCHEMA:
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION}")
    database.execute("COMMIT")


def _pragma(database: SharedFile, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])
