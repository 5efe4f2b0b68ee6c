# SPDX-License-Identifier: Apache-2.0
"""Claude through the Message Batches API: half the price, an answer within a day (mostly within an hour).

Operators ask one call at a time, so batches are gathered: calls made within `batch_seconds` of the first become one.
The problems of an evaluation ask side by side: a batch holds up to `concurrency` of them, and a workflow that asks k
times in a row takes k batches, one after another. That suits large evaluations, and no interactive search.

The id of a batch is on disk before anybody waits for it, so a killed run finds its batches again and pays nothing
twice. Two gaps are left: a process killed between the provider's yes and our line on disk has a batch that nobody
collects, and the reservations of a killed process stay counted at their worst case, as everywhere (budget.py).
"""

import asyncio
import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from aflow_env.config import LLMConfig
from aflow_env.files import storing
from aflow_env.llm.client import Completion, LLMError, Message, PromptTooLong, Request
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import Price
from aflow_env.llm.providers.answer import JSON, LARGEST, SHOWN, Answer, clean_answer, one_line
from aflow_env.llm.providers.anthropic import AnthropicClient
from aflow_env.llm.providers.faults import STATUS, failure, status_error
from aflow_env.llm.providers.provider import Lenient

log = logging.getLogger(__name__)

_NOBODY = Request(messages=(Message(role="user", content=""),))
"""Stands for a whole batch where an error is put into words."""


class _Batch(Lenient):
    id: str
    processing_status: str


class _Error(Lenient):
    type: str
    message: str = ""


class _Errored(Lenient):
    error: _Error


class _Result(Lenient):
    type: Literal["succeeded", "errored", "canceled", "expired"]
    message: JSON = None
    error: _Errored | None = None


class _Line(Lenient):
    custom_id: str
    result: _Result


class BatchBook:
    """Which batch answers which call; a file that several processes may share, or memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        with storing(path):
            self._db = sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None)
            self._db.execute("CREATE TABLE IF NOT EXISTS batches (call TEXT PRIMARY KEY, batch TEXT) WITHOUT ROWID")

    def add(self, batch: str, calls: Sequence[str]) -> None:
        """The batch will answer these calls; on disk when this returns."""
        with storing(self._path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?)", [(call, batch) for call in calls])

    def batch_of(self, call: str) -> str | None:
        """The batch that answers the call, if one was made."""
        row = self._db.execute("SELECT batch FROM batches WHERE call = ?", (call,)).fetchone()
        return str(row[0]) if row else None

    def forget(self, call: str) -> None:
        """The batch did not answer it: the call is made anew."""
        with storing(self._path):
            self._db.execute("DELETE FROM batches WHERE call = ?", (call,))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


@dataclass
class _Window:
    """Calls that will become one batch; `made` is its id, or why there is none."""

    made: asyncio.Task[str | LLMError | PromptTooLong]
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)


Results = dict[str, _Result] | LLMError | PromptTooLong


class AnthropicBatchClient(AnthropicClient):
    """An LLMClient whose calls go out in batches; `price` is that of batches."""

    largest = 64 * LARGEST

    def __init__(self, config: LLMConfig, price: Price | None, key: ApiKey, book: BatchBook) -> None:
        super().__init__(config, price, key)
        self._book = book
        self._window: _Window | None = None
        self._making: set[asyncio.Task[str | LLMError | PromptTooLong]] = set()
        self._collecting: dict[str, asyncio.Task[Results]] = {}

    async def complete(self, request: Request) -> Completion:
        """As LLMClient; waits as long as the batch takes."""
        started = time.monotonic()
        parameters = self._parameters(request)
        call = hashlib.sha256(f"{request.key}{json.dumps(parameters, sort_keys=True)}".encode()).hexdigest()
        made = self._book.batch_of(call) or await self._made(call, parameters)
        if not isinstance(made, str):
            raise made
        results = await self._results(made)
        if isinstance(results, LLMError):
            results.bill = "unknown"  # the batch itself may be well: who asks again finds it again
        if not isinstance(results, dict):
            raise results
        outcome = self._read_result(results.get(call), made, request)
        try:
            if isinstance(outcome, Answer):
                return self._completion(request, outcome, time.monotonic() - started)
            raise outcome
        except (LLMError, PromptTooLong):
            self._book.forget(call)
            raise

    async def aclose(self) -> None:
        """As LLMClient; batches that are on their way are left to the next process."""
        for task in (*self._collecting.values(), *([self._window.made] if self._window else [])):
            task.cancel()
        # a batch that is just being made is waited for: its id has to get into the book
        await asyncio.gather(*self._collecting.values(), *self._making, return_exceptions=True)
        self._book.close()
        await super().aclose()

    async def _results(self, batch: str) -> Results:
        """What a batch has come to; whoever waits for it waits together."""
        if batch not in self._collecting:
            self._collecting[batch] = asyncio.create_task(self._collect(batch))
        results = await asyncio.shield(self._collecting[batch])
        if not isinstance(results, dict):
            self._collecting.pop(batch, None)
        return results

    async def _made(self, call: str, parameters: dict[str, Any]) -> str | LLMError | PromptTooLong:
        """Put the call into the window, and wait for the batch that it becomes."""
        if self._window is None:
            self._window = _Window(asyncio.create_task(self._make()))
            self._making.add(self._window.made)
            self._window.made.add_done_callback(self._making.discard)
        self._window.calls[call] = parameters
        return await asyncio.shield(self._window.made)

    async def _make(self) -> str | LLMError | PromptTooLong:
        await asyncio.sleep(self._config.batch_seconds)
        window, self._window = self._window, None
        assert window
        requests: list[Any] = [
            {"custom_id": call, "params": _without_extras(parameters)} for call, parameters in window.calls.items()
        ]
        headers = next(iter(window.calls.values())).get("extra_headers")
        batches = self._client.messages.batches.with_raw_response
        batch = await self._asked(batches.create(requests=requests, extra_headers=headers))
        if not isinstance(batch, _Batch):
            return batch
        self._book.add(batch.id, list(window.calls))
        log.info("batch %s: %d calls", batch.id, len(requests))
        return batch.id

    async def _collect(self, batch: str) -> Results:
        """Wait for the end of a batch, then read all of its results."""
        batches = self._client.messages.batches.with_raw_response
        while True:
            state = await self._asked(batches.retrieve(batch))
            if isinstance(state, _Batch) and state.processing_status == "ended":
                break
            if isinstance(state, LLMError) and state.retryable:
                log.warning("batch %s: asked for its end again in a while (%s)", batch, state)
            elif not isinstance(state, _Batch):
                return state
            await asyncio.sleep(self._config.batch_poll_seconds)
        response = await self._response(_http(batches.results(batch)))
        if isinstance(response, LLMError):
            return response
        if failed := failure(self._cleaned(response), _NOBODY):
            return failed
        try:
            lines = [_Line.model_validate(self._clean_line(line)) for line in response.content.splitlines() if line]
        except ValidationError as error:
            return LLMError("malformed", f"the results of batch {batch} cannot be read: {error.error_count()} errors")
        return {line.custom_id: line.result for line in lines}

    def _clean_line(self, line: bytes) -> JSON:
        return clean_answer(200, {}, line, self._key).plain

    async def _asked(self, sending: Awaitable[Any]) -> _Batch | LLMError | PromptTooLong:
        """The provider's word about a batch."""
        response = await self._response(_http(sending))
        if isinstance(response, LLMError):
            return response
        answer = self._cleaned(response)
        if failed := failure(answer, _NOBODY):
            return failed
        try:
            return _Batch.model_validate(answer.plain)
        except ValidationError:
            return LLMError("malformed", "the provider's word about a batch cannot be read", bill="unknown")

    def _read_result(self, result: _Result | None, batch: str, request: Request) -> Answer | LLMError | PromptTooLong:
        if result is None:
            return LLMError("malformed", f"batch {batch} has no result for this call", bill="unknown")
        if result.type == "succeeded" and result.message is not None:
            return Answer(200, {"request-id": batch}, one_line(str(result.message)[:SHOWN]), result.message)
        if result.error is None:
            return LLMError("overloaded", f"batch {batch}: the call was {result.type} before it was answered")
        said = result.error.error
        return status_error(STATUS.get(said.type, 500), said.type, one_line(said.message), {}, request)


async def _http(sending: Awaitable[Any]) -> Any:
    """The whole HTTP response beneath an SDK's raw one."""
    response = (await sending).http_response
    await response.aread()
    return response


def _without_extras(parameters: dict[str, Any]) -> dict[str, Any]:
    """A call's parameters as the body of its part of a batch."""
    plain = {name: value for name, value in parameters.items() if not name.startswith("extra_")}
    return {**plain, **parameters.get("extra_body", {})}
