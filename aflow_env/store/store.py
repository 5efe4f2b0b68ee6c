# SPDX-License-Identifier: Apache-2.0
"""The SQLite file of a run: sessions and their nodes, evaluations, LLM calls, events.

Every method that writes is one transaction that is on file when it returns (database.py). A session killed at any
instant is opened again with every recorded round, and nothing is paid twice. The first writer wins: an evaluation, a
completion or a node never changes. Several processes of one machine may use one file at a time.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from aflow_env.errors import InfrastructureError
from aflow_env.evaluation.results import COUNTED, ProblemResult
from aflow_env.files import Row, Value, storing
from aflow_env.llm.client import Completion, Request
from aflow_env.store import experience, node_rows
from aflow_env.store.database import JSON, NOT_VALIDATION, Reads, open_database
from aflow_env.store.experience import Entry, Evaluated
from aflow_env.store.node_rows import DrawnProposal, Node, RoundEnd, columns_of
from aflow_env.workflow.program import Workflow

_RESULT = ", ".join(node_rows.RESULT_COLUMNS)
_NEVER = 2**62  # a round that no session comes to
_SCAN = 100  # rows looked at for the experience of one workflow, in either order; more than a prompt can show


@dataclass(frozen=True)
class SessionKey:
    """The name of a session: search problem, seed, number in its group, training step (0 without a training)."""

    problem: str
    seed: int = 0
    session: str = "0"
    step: int = 0

    @property
    def id(self) -> str:
        """The primary key in the store."""
        return f"{self.problem}/{self.seed}/{self.step}/{quote(self.session, safe='')}"


@dataclass(frozen=True)
class StoredSession:
    """A session as far as it was recorded, by ascending round.

    `payloads` came with `record`. `state` is the one of the last `set_state`, or None. `proposals` were drawn to choose
    from, by node and ordinal.
    """

    key: SessionKey
    ended: tuple[RoundEnd, ...] = ()
    payloads: Mapping[int, JSON] = field(default_factory=dict)
    state: JSON = None
    proposals: tuple[DrawnProposal, ...] = ()


class Store(Reads):
    """One run's file, the evaluator's EvaluationCache and the LLM room's CompletionLog."""

    def __init__(self, path: Path, later: bool = False) -> None:
        """Open or make the file, `later` at its first use. Raises as `open_database` does."""
        super().__init__(path, open_database)
        if not later:
            self.open()

    def get_many(
        self, digest: str, executor_key: str, keys: Iterable[tuple[str, int]]
    ) -> dict[tuple[str, int], ProblemResult]:
        """Return the stored results among (problem digest, repeat) keys, marked as cached. One query."""
        wanted = set(keys)
        sql = f"SELECT {_RESULT} FROM evaluations WHERE digest = ? AND executor_key = ?"
        found = map(node_rows.result_of, self.read(sql, (digest, executor_key)))
        return {result.key: result for result in found if result.key in wanted}

    def put_many(self, digest: str, executor_key: str, results: Sequence[ProblemResult]) -> None:
        """Store results in one transaction. One that does not count (llm_error, budget) becomes an event instead."""
        with self._database.write():
            for result in results:
                if result.outcome in COUNTED:
                    columns = columns_of(result, node_rows.RESULT_COLUMNS)
                    self._add("evaluations", {"digest": digest, "executor_key": executor_key, **columns})
                else:
                    data = {"digest": digest, "executor_key": executor_key, **result._asdict()}
                    self._note(str(result.outcome), data)

    def get(self, key: str) -> Completion | None:
        """Return the completion of a request's key, or None."""
        rows = self.read("SELECT response FROM completions WHERE key = ?", (key,))
        return Completion.model_validate_json(rows[0][0]) if rows else None

    def put(self, key: str, request: Request, completion: Completion) -> None:
        """Save the answer to a request."""
        response = completion.model_dump_json()
        tokens = (completion.tokens - completion.output_tokens, completion.output_tokens)
        row = (key, completion.model, request.model_dump_json(), response, *tokens, completion.cost_usd, time.time())
        self._write("INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)

    # -- sessions ------------------------------------------------------------------------------------------------------

    def open_session(self, key: SessionKey, task: str) -> StoredSession:
        """Register the session if it is new, and return its recorded rounds."""
        sql = "INSERT OR IGNORE INTO sessions (id, problem, seed, step, session, task) VALUES (?, ?, ?, ?, ?, ?)"
        self._write(sql, key.id, key.problem, key.seed, key.step, key.session, task)
        return self.session(key)

    def sessions(self) -> dict[SessionKey, str]:
        """Return all sessions, with their tasks, by step and name."""
        rows = self.read("SELECT problem, seed, session, step, task FROM sessions ORDER BY step, id")
        return {SessionKey(*row[:4]): row[4] for row in rows}

    def session(self, key: SessionKey) -> StoredSession:
        """Return an open session's recorded rounds. Raises ValueError for one that was never opened."""
        (state,) = self._one("SELECT state FROM sessions WHERE id = ?", key.id)
        names = (*node_rows.NODE_COLUMNS, "payload", "graph", "prompts", "problems")
        sql = (
            f"SELECT {', '.join('nodes.digest' if name == 'digest' else name for name in names)} FROM nodes "
            "LEFT JOIN programs ON programs.id = nodes.program "
            "LEFT JOIN problem_sets ON problem_sets.id = nodes.problem_set WHERE session = ? ORDER BY round"
        )
        ended, payloads = [], {}
        for record in self.records(names, sql, (key.id,)):
            ended.append(node_rows.round_end(record, self._results(record)))
            if record["payload"] is not None:
                payloads[record["round"]] = json.loads(record["payload"])
        sql = (
            f"SELECT {', '.join(f'proposals.{name}' for name in node_rows.PROPOSAL_COLUMNS)}, graph, prompts "
            "FROM proposals LEFT JOIN programs ON programs.id = program WHERE session = ? ORDER BY node, ordinal"
        )
        proposals = tuple(map(node_rows.proposal_of, self.read(sql, (key.id,))))
        return StoredSession(key, tuple(ended), payloads, json.loads(state), proposals)

    def record(self, key: SessionKey, ended: RoundEnd, payload: JSON = None) -> None:
        """Append a round that ended to its session, and so to the experience of its parent's workflow.

        `payload` is the caller's own (JSON). The same round again changes nothing. Raises ValueError when it ended
        otherwise before, when its parent is not recorded, or for a session that was not opened.
        """
        columns: dict[str, Value] = {"session": key.id, "step": key.step, **columns_of(ended, node_rows.ROUND_COLUMNS)}
        columns["payload"] = None if payload is None else json.dumps(payload)
        with self._database.write():
            (columns["task"],) = self._one("SELECT task FROM sessions WHERE id = ?", key.id)
            if ended.parent is not None:
                parent = "SELECT digest, score FROM nodes WHERE session = ? AND round = ? AND score IS NOT NULL"
                columns["parent_digest"], columns["before"] = self._one(parent, key.id, ended.parent)
            if isinstance(ended, Node):
                problems = node_rows.problem_set_row(ended.evaluation.results)
                self._add("problem_sets", problems)
                columns |= node_rows.evaluation_columns(ended.evaluation)
                columns |= {"program": self._add_program(ended.workflow, ended.digest), "problem_set": problems["id"]}
            if not self._add("nodes", columns):
                names = ("parent", "program", "score", "edit", "reason")
                stored = f"SELECT {', '.join(names)} FROM nodes WHERE session = ? AND round = ?"
                if self._one(stored, key.id, ended.round) != tuple(map(columns.get, names)):
                    raise ValueError(f"round {ended.round} of session {key.id} ended before, and otherwise")

    def save_proposals(self, key: SessionKey, proposals: Sequence[DrawnProposal]) -> None:
        """Add proposals to an open session's, in one transaction. One that is there already stays as it is."""
        with self._database.write():
            for each in proposals:
                program = self._add_program(each.workflow, each.digest) if each.workflow and each.digest else None
                columns = columns_of(each, node_rows.PROPOSAL_COLUMNS)
                self._add("proposals", {"session": key.id, **columns, "program": program})

    def evaluated(self, task: str, before: int) -> list[Evaluated]:
        """Return every evaluated node of training steps before this one, as `experience.evaluated`."""
        return experience.evaluated(self, task, before)

    def set_state(self, key: SessionKey, state: JSON) -> None:
        """Replace the session's own state (JSON), e.g. why it stopped."""
        self._write("UPDATE sessions SET state = ? WHERE id = ?", json.dumps(state), key.id)

    def experience(self, task: str, digest: str, key: SessionKey, limit: int, unseen: int | None = None) -> list[Entry]:
        """Return earlier changes of this workflow: at most `limit` entries, chosen by `experience.choose`.

        A session sees its own rounds below `unseen` and the rounds of earlier steps, of any session and search problem.
        It sees no round of a session that runs beside it, because their order of arrival is chance, and none of a
        training run's validation. The query reads the largest gains and the latest rounds alone.
        """
        end = _NEVER if unseen is None else unseen
        rows: set[Row] = set()
        for some, order in (
            ("score > before", "score - before DESC, step DESC, session DESC, round DESC"),
            ("true", "step DESC, session DESC, round DESC"),
        ):
            sql = (
                "SELECT step, session, round, modification, before, score, coalesce(reason, '') FROM nodes "
                f"WHERE task = ? AND parent_digest = ? AND {some} "
                f"AND (step < ? AND {NOT_VALIDATION} OR session = ? AND round < ?) ORDER BY {order} LIMIT {_SCAN}"
            )
            rows.update(self.read(sql, (task, digest, key.step, key.id, end)))
        return experience.choose([Entry(*row[3:]) for row in sorted(rows, key=lambda row: row[:3])], limit)

    def take_back(self, step: int) -> None:
        """Go on from the checkpoint of this training step: rounds of later steps are no experience any more.

        Lost weights proposed them. Their events are marked as forgotten. The rounds stay, as evaluated workflows.
        """
        forgotten = 0
        with self._database.write():
            for sql in (
                "UPDATE nodes SET parent_digest = NULL WHERE parent_digest IS NOT NULL AND session IN (SELECT id FROM "
                "sessions WHERE step > ?)",
                "UPDATE events SET kind = 'forgotten ' || kind WHERE session IS NULL AND kind NOT LIKE 'forgotten %' "
                "AND json_extract(data, '$.step') > ?",
            ):
                forgotten += self._database.execute(sql, (step,)).rowcount
            if forgotten:
                self._note("resumed", {"after_step": step})

    # -- events, meta, the whole ---------------------------------------------------------------------------------------

    def event(self, kind: str, data: JSON, key: SessionKey | None = None) -> None:
        """Record an event with the time of day."""
        with self._database.write():
            self._note(kind, data, key.id if key else None)

    def set_meta(self, name: str, value: str, replace: bool = False) -> str:
        """Set a property of the run unless it is set, or `replace` it. Return the value that it has."""
        self._write(f"INSERT OR {'REPLACE' if replace else 'IGNORE'} INTO meta VALUES (?, ?)", name, value)
        return self.meta(name) or ""

    def digest(self) -> str:
        """Return 64 hex digits of nodes, evaluations and proposals, which the same seed and config must reproduce.

        Seconds, cache hits, money spent, failures of the world and payloads are left out.
        """
        chance = ("seconds", "cache_hits", "spent_usd", "uncounted")
        nodes = ", ".join(name for name in node_rows.NODE_COLUMNS if name not in chance)
        results = ", ".join(name for name in node_rows.RESULT_COLUMNS if name not in chance)
        proposals = ", ".join(node_rows.PROPOSAL_COLUMNS)
        total = hashlib.sha256()
        with storing(self.path):
            for sql in (
                f"SELECT session, task, step, {nodes} FROM nodes ORDER BY session, round",
                f"SELECT digest, executor_key, {results} FROM evaluations ORDER BY 1, 2, problem_digest, repeat",
                f"SELECT session, {proposals} FROM proposals ORDER BY session, node, ordinal",
            ):
                for row in self._database.execute(sql):
                    total.update(repr(row).encode())
        return total.hexdigest()

    def _results(self, node: Mapping[str, JSON]) -> list[ProblemResult]:
        """Return the results that a row's evaluation was made of. Raises InfrastructureError where one is missing."""
        inline = {place: node_rows.result_of(row) for place, *row in json.loads(node["uncounted"] or "[]")}
        listed: list[tuple[str, int, str]] = json.loads(node["problems"] or "[]")
        found = self.get_many(node["digest"], node["executor_key"], ((digest, repeat) for digest, repeat, _ in listed))
        results = []
        for place, (problem, repeat, problem_id) in enumerate(listed):
            result = inline.get(place) or found.get((problem, repeat))
            if result is None:
                raise InfrastructureError(
                    f"{self.path}: the evaluation of workflow {node['digest']} on problem {problem_id} is missing"
                )
            results.append(result if result.problem_id == problem_id else result._replace(problem_id=problem_id))
        return results

    def _add(self, table: str, columns: Mapping[str, Value]) -> bool:
        """Insert a row within a transaction. Return False when it is there already, and stays as it is."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        sql = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
        return self._database.execute(sql, tuple(columns.values())).rowcount > 0

    def _add_program(self, workflow: Workflow, digest: str) -> Value:
        columns = node_rows.program_row(workflow, digest)
        self._add("programs", columns)
        return columns["id"]

    def _one(self, sql: str, *arguments: Value) -> Row:
        rows = self.read(sql, arguments)
        if not rows:
            raise ValueError(
                f"nothing stored for {arguments}: open the session first, and record parents before children"
            )
        return rows[0]

    def _write(self, sql: str, *arguments: Value) -> None:
        with self._database.write():
            self._database.execute(sql, arguments)

    def _note(self, kind: str, data: JSON, session: str | None = None) -> None:
        """Record an event with the time of day, within a transaction."""
        sql = "INSERT INTO events (time, session, kind, data) VALUES (?, ?, ?, ?)"
        self._database.execute(sql, (time.time(), session, kind, json.dumps(data)))
