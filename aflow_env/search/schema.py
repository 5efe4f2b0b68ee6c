# SPDX-License-Identifier: Apache-2.0
"""The tables of a run's store, version by version. Readable with plain SQL; JSON columns hold JSON text.

- sessions: one search from a start workflow; `id` is "problem/seed/step/session".
- nodes: one row a round that ended, in a session. A rejected round has a `reason` and no score. `before` and
  `parent_digest` are the parent's, so that this table is the experience pool too: the view `experience` shows it as
  such. `parent_digest` is cleared when a training run goes on from a checkpoint before the node's step.
- programs: the text of workflows, by its hash. `digest` is the workflow's own.
- problem_sets: which results, in order, a node's evaluation was made of: [[problem_digest, repeat, problem_id], ...].
- evaluations: a workflow's run on a problem and repeat under an executor's settings; only runs that count.
- completions: every LLM call that was paid for, by the request's key.
- events: what happened otherwise (failures of the world, stops), with wall-clock time.
- meta: whatever identifies the run (its config).
"""

VERSION = 1
APPLICATION_ID = 0x61666C77  # "aflw"
TAUGHT = "session NOT LIKE 'validate/%'"
"""Of the rounds of earlier steps, those that later ones may learn from: all but a training run's validation."""

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
        cache_hits INTEGER, spent_usd REAL, problem_set TEXT REFERENCES problem_sets (id), uncounted TEXT, payload
        TEXT, PRIMARY KEY (session, round)
    )""",
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
        NULL, error TEXT NOT NULL, PRIMARY KEY (digest, executor_key, problem_digest, repeat)
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
