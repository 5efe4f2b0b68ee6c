# SPDX-License-Identifier: Apache-2.0
"""Claude through the Message Batches API: half the price, an answer within a day (mostly within an hour).

Calls made within `batch_seconds` of the first become one batch. An evaluation's problems ask side by side, so a batch
has up to `concurrency` of them. A workflow that asks k times in a row takes k batches, one after another. That suits
large evaluations, and no interactive search.

The id of a batch is on disk before anything waits for it, so a killed run finds its batches again and pays nothing
twice. There are two gaps. A process killed between the provider's reply and our line on disk has a batch that nobody
collects. The reservations of a killed process stay counted at their worst case, as everywhere (budget.py).
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasPath, Field, TypeAdapter, ValidationError

from aflow_env.config import LLMConfig
from aflow_env.files import FileOwner, open_shared
from aflow_env.llm.client import Completion, LLMError, Message, PromptTooLong, Request
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import Price
from aflow_env.llm.providers.answer import JSON, SHOWN, STATUS, Answer, failure, one_line, status_error
from aflow_env.llm.providers.anthropic import AnthropicClient
from aflow_env.llm.providers.provider import Lenient

log = logging.getLogger(__name__)
T = TypeVar("T")

_NOBODY = Request(messages=(Message(role="user", content=""),))  # stands for a whole batch in the text of an error


class _Batch(Lenient):
    id: str
    processing_status: str


class _Result(Lenient):
    call: Annotated[str, Field(validation_alias="custom_id")]
    type: Annotated[
        Literal["succeeded", "errored", "canceled", "expired"], Field(validation_alias=AliasPath("result", "type"))
    ]
    message: Annotated[JSON, Field(validation_alias=AliasPath("result", "message"))] = None
    error: Annotated[str, Field(validation_alias=AliasPath("result", "error", "error", "type"))] = ""
    words: Annotated[str, Field(validation_alias=AliasPath("result", "error", "error", "message"))] = ""


Failed = LLMError | PromptTooLong
Results = dict[str, _Result] | Failed
_RESULTS = TypeAdapter(list[_Result])
_BATCH = TypeAdapter(_Batch)
_SCHEMA = "CREATE TABLE IF NOT EXISTS batches (call TEXT PRIMARY KEY, batch TEXT) WITHOUT ROWID"


class BatchBook(FileOwner):
    """The batch of each call, in a file that several processes may share, or in memory. It is made at its first use."""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__(partial(open_shared, path, _SCHEMA))

    def add(self, batch: str, calls: Sequence[str]) -> None:
        """Save that the batch will answer these calls. It is on disk when this returns."""
        with self._database.write():
            rows = [(call, batch) for call in calls]
            self._database.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?)", rows)

    def batch_of(self, call: str) -> str | None:
        """Return the batch that answers the call, if one was made."""
        rows = self._database.read("SELECT batch FROM batches WHERE call = ?", (call,))
        return rows[0][0] if rows else None

    def forget(self, call: str) -> None:
        """Drop a call that its batch did not answer: it is made anew."""
        with self._database.write():
            self._database.execute("DELETE FROM batches WHERE call = ?", (call,))


@dataclass
class _Window:
    """Calls that will become one batch. `made` is its id, or why there is none."""

    made: asyncio.Task[str | Failed]
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)


class AnthropicBatchClient(AnthropicClient):
    """An LLMClient whose calls go out in batches. `price` is the one of batches."""

    largest = 64 * AnthropicClient.largest

    def __init__(self, config: LLMConfig, price: Price | None, key: ApiKey, book: BatchBook) -> None:
        super().__init__(config, price, key)
        self._book = book
        self._window: _Window | None = None
        self._making: set[asyncio.Task[str | Failed]] = set()
        self._collecting: dict[str, asyncio.Task[Results]] = {}

    async def complete(self, request: Request) -> Completion:
        """As LLMClient. Waits as long as the batch takes."""
        started = time.monotonic()
        parameters = self._parameters(request)
        call = hashlib.sha256(f"{request.key}{json.dumps(parameters, sort_keys=True)}".encode()).hexdigest()
        made = self._book.batch_of(call) or await self._made(call, parameters)
        if not isinstance(made, str):
            raise made
        if made not in self._collecting:
            self._collecting[made] = asyncio.create_task(self._collect(made))
        results = await asyncio.shield(self._collecting[made])
        if not isinstance(results, dict):
            self._collecting.pop(made, None)
            if isinstance(results, LLMError):
                results.bill = "unknown"  # the batch itself may be well: the next attempt finds it again
            raise results
        outcome = self._answer(results.get(call), made, request)
        try:
            if isinstance(outcome, Answer):
                return self._completion(request, outcome, time.monotonic() - started)
            raise outcome
        except (LLMError, PromptTooLong):
            self._book.forget(call)
            raise

    async def aclose(self) -> None:
        """As LLMClient. The next process collects batches that are on their way."""
        for task in (*self._collecting.values(), *([self._window.made] if self._window else [])):
            task.cancel()
        # wait for a batch that is just being made: its id has to get into the book
        await asyncio.gather(*self._collecting.values(), *self._making, return_exceptions=True)
        self._book.close()
        await super().aclose()

    async def _made(self, call: str, parameters: dict[str, Any]) -> str | Failed:
        """Put the call into the window, and wait for the batch that it becomes."""
        if self._window is None:
            self._window = _Window(asyncio.create_task(self._make()))
            self._making.add(self._window.made)
            self._window.made.add_done_callback(self._making.discard)
        self._window.calls[call] = parameters
        return await asyncio.shield(self._window.made)

    async def _make(self) -> str | Failed:
        await asyncio.sleep(self._config.batch_seconds)
        window, self._window = self._window, None
        assert window
        requests: list[Any] = [{"custom_id": call, "params": _body(each)} for call, each in window.calls.items()]
        headers = next(iter(window.calls.values())).get("extra_headers")
        batches = self._client.messages.batches.with_raw_response
        batch = _read(_BATCH, await self._exchange(batches.create(requests=requests, extra_headers=headers)))
        if not isinstance(batch, _Batch):
            return batch
        self._book.add(batch.id, list(window.calls))
        log.info("batch %s: %d calls", batch.id, len(requests))
        return batch.id

    async def _collect(self, batch: str) -> Results:
        """Wait for the end of a batch, then read all of its results."""
        batches = self._client.messages.batches.with_raw_response
        while True:
            state = _read(_BATCH, await self._exchange(batches.retrieve(batch)))
            if isinstance(state, _Batch) and state.processing_status == "ended":
                break
            if isinstance(state, LLMError) and state.retryable:
                log.warning("batch %s: asked for its end again in a while (%s)", batch, state)
            elif not isinstance(state, _Batch):
                return state
            await asyncio.sleep(self._config.batch_poll_seconds)
        results = _read(_RESULTS, await self._exchange(batches.results(batch), lines=True))
        return {result.call: result for result in results} if isinstance(results, list) else results

    def _answer(self, result: _Result | None, batch: str, request: Request) -> Answer | Failed:
        if result is None:
            return LLMError("malformed", f"batch {batch} has no result for this call", bill="unknown")
        if result.type == "succeeded" and result.message is not None:
            return Answer(200, {"request-id": batch}, one_line(str(result.message)[:SHOWN]), result.message)
        if not result.error:
            return LLMError("overloaded", f"batch {batch}: the call was {result.type} before it was answered")
        return status_error(STATUS.get(result.error, 500), result.error, one_line(result.words), {}, request)


def _read(form: TypeAdapter[T], answer: Answer | LLMError) -> T | Failed:
    if isinstance(answer, LLMError):
        return answer
    if failed := failure(answer, _NOBODY):
        return failed
    try:
        return form.validate_python(answer.plain)
    except ValidationError as error:
        text = f"the provider's word about a batch cannot be read: {error.error_count()} errors"
        return LLMError("malformed", text, bill="unknown")


def _body(parameters: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in parameters.items() if not name.startswith("extra_")}
    return {**plain, **parameters.get("extra_body", {})}
