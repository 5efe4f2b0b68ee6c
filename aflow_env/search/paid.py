# SPDX-License-Identifier: Apache-2.0
"""What was paid for, and so is never asked twice: results of evaluations and completions of LLM calls.

The evaluator's cache and the LLM room's log, over the run's database. First writer wins, nothing is ever changed.
"""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

from aflow_env.evaluation.results import COUNTED, ProblemResult
from aflow_env.llm.client import Completion, Request
from aflow_env.search import records
from aflow_env.search.database import Database, Row, Value, Writer

JSON = Any

_RESULT = ", ".join(records.RESULT_COLUMNS)
_MARKS = ", ".join("?" * (2 + len(records.RESULT_COLUMNS)))


class Paid:
    """Implements EvaluationCache (`get_many`, `put_many`) and CompletionLog (`get`, `put`)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, sql: str, arguments: Sequence[Value] = ()) -> list[Row]:
        """All rows of a query, for reports; schema.py describes the tables."""
        return self._database.read(sql, arguments)

    def get_many(
        self, digest: str, executor_key: str, keys: Iterable[tuple[str, int]]
    ) -> dict[tuple[str, int], ProblemResult]:
        """The stored results among (problem digest, repeat) keys, marked as cached. One query."""
        wanted = set(keys)
        sql = f"SELECT {_RESULT} FROM evaluations WHERE digest = ? AND executor_key = ?"
        found = map(records.result_of, self._database.read(sql, (digest, executor_key)))
        return {key: result for result in found if (key := (result.problem_digest, result.repeat)) in wanted}

    def put_many(self, digest: str, executor_key: str, results: Sequence[ProblemResult]) -> None:
        """Store results in one transaction; one that does not count (llm_error, budget) becomes an event instead."""
        with self._database.write() as writer:
            writer.run_many(
                f"INSERT OR IGNORE INTO evaluations (digest, executor_key, {_RESULT}) VALUES ({_MARKS})",
                [(digest, executor_key, *records.result_row(each)) for each in results if each.outcome in COUNTED],
            )
            for result in results:
                if result.outcome not in COUNTED:
                    data = {"digest": digest, "executor_key": executor_key, **result._asdict()}
                    note(writer, str(result.outcome), data)

    def get(self, key: str) -> Completion | None:
        """The completion of a request's key, or None."""
        rows = self._database.read("SELECT response FROM completions WHERE key = ?", (key,))
        return Completion.model_validate_json(str(rows[0][0])) if rows else None

    def put(self, key: str, request: Request, completion: Completion) -> None:
        """Keep what a request was answered."""
        response = completion.model_dump_json()
        tokens = (completion.tokens - completion.output_tokens, completion.output_tokens)
        row = (key, completion.model, request.model_dump_json(), response, *tokens, completion.cost_usd, time.time())
        with self._database.write() as writer:
            writer.run("INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def note(writer: Writer, kind: str, data: JSON, session: str | None = None) -> None:
    """An event, with the time of day, within a transaction."""
    sql = "INSERT INTO events (time, session, kind, data) VALUES (?, ?, ?, ?)"
    writer.run(sql, (time.time(), session, kind, json.dumps(data)))
