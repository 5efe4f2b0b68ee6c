# SPDX-License-Identifier: Apache-2.0
"""What both HTTP providers share: the time-out, the errors, strict reading of a reply, and a check of its usage.

A reply is read from its bytes against a model of the fields we use; anything else, an empty text or an impossible count
included, is an LLMError. So a failure never becomes a text, and a wrong bill never becomes a cost.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ValidationError

from aflow_env.config import LLMConfig
from aflow_env.llm.client import Completion, LLMError, PromptTooLong, Request
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import PICO, Price
from aflow_env.llm.providers.faults import shorten

log = logging.getLogger(__name__)


class Lenient(BaseModel):
    """A part of a reply: the fields we use, checked; all others ignored (providers add fields every month)."""


@dataclass(frozen=True)
class Raw:
    """A whole reply with a status of success."""

    body: bytes
    request_id: str


@dataclass(frozen=True)
class Reply:
    """What a reply says, in our words. `fresh`, `read`, `written`: prompt tokens not cached, from and to the cache."""

    text: str
    model: str
    stop: Literal["stop", "length", "refused"]
    fresh: int
    output: int
    read: int = 0
    written: int = 0


class Provider:
    """An LLMClient over HTTP; a subclass says how to send and how to read. One attempt a call, no retries.

    (A second one only where a server refuses the schema of a request: nothing was answered or billed then.)
    """

    def __init__(self, config: LLMConfig, price: Price | None, key: ApiKey) -> None:
        self._config = config
        self._price = price
        self._key = key
        self._structured = True  # until the server refuses

    async def complete(self, request: Request) -> Completion:
        """As LLMClient: one attempt, cancelled for real when it exceeds `timeout_seconds`, slow drips included."""
        started = time.monotonic()
        seconds = self._config.timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                outcome = await self._held_to_fields(request)
        except TimeoutError:
            outcome = LLMError("timeout", f"no whole reply within {seconds:g} s", bill="unknown")
        if isinstance(outcome, Raw):
            return self._completion(request, outcome, time.monotonic() - started)
        # raised outside any handler: a library's exception in __context__ would carry the request and its key along
        raise outcome

    async def aclose(self) -> None:
        """As LLMClient."""
        raise NotImplementedError

    async def _held_to_fields(self, request: Request) -> Raw | LLMError | PromptTooLong:
        """Send once; a request for fields goes out again without them when that is what the server refuses."""
        plain = request.unstructured
        if not request.structured or not self._structured:
            return await self._send(plain)
        outcome = await self._send(request)
        if not isinstance(outcome, LLMError) or outcome.kind != "bad_request":
            return outcome
        second = await self._send(plain)
        if isinstance(second, Raw) and self._structured:
            self._structured = False
            log.warning("structured=auto: the server refuses the JSON schema, replies are parsed instead (%s)", outcome)
        return second

    async def _send(self, request: Request) -> Raw | LLMError | PromptTooLong:
        """Send once; return what came, or the error that it means."""
        raise NotImplementedError

    def _read(self, body: bytes) -> Reply:
        """Read a reply. Raises ValidationError or ValueError when it is not one."""
        raise NotImplementedError

    def _completion(self, request: Request, raw: Raw, seconds: float) -> Completion:
        try:
            reply = self._read(raw.body)
        except (ValidationError, ValueError) as error:
            problem = _explain(error)
        else:
            problem = impossible(reply, request)
        if problem:
            cut = shorten(raw.body.decode("utf-8", "replace"), self._key)[:120]
            text = f"{problem}; the reply begins {cut!r}"
            raise LLMError("malformed", text, request_id=raw.request_id, bill="unknown")
        completion = self._price_of(reply, raw, seconds)
        if reply.stop == "refused":
            raise LLMError("refused", "the model declined", request_id=raw.request_id, bill="told", billed=completion)
        if not reply.text and not self._config.accept_empty:
            raise self._empty(request, reply, raw, completion)
        return completion

    def _price_of(self, reply: Reply, raw: Raw, seconds: float) -> Completion:
        picos = self._price.cost(reply.fresh, reply.output, reply.read, reply.written) if self._price else 0
        return Completion(
            text=reply.text,
            model=reply.model,
            input_tokens=reply.fresh,
            output_tokens=reply.output,
            cache_read_tokens=reply.read,
            cache_write_tokens=reply.written,
            cost_usd=picos / PICO,
            cost_known=self._price is not None,
            stop_reason=reply.stop,
            request_id=raw.request_id,
            seconds=seconds,
        )

    def _empty(self, request: Request, reply: Reply, raw: Raw, completion: Completion) -> LLMError:
        if reply.stop == "length":
            text = f"the reply was cut at max_tokens={request.max_tokens} before any text (thinking counts): raise it"
            return LLMError("no_text", text, request_id=raw.request_id, bill="told", billed=completion)
        text = "the reply has no text (accept_empty=true takes it as an answer)"
        return LLMError("malformed", text, request_id=raw.request_id, bill="told", billed=completion)


def impossible(reply: Reply, request: Request) -> str:
    """Why the usage of a reply cannot be true, or the empty string. What passes is within the reserved worst case."""
    prompt = reply.fresh + reply.read + reply.written
    if min(reply.fresh, reply.read, reply.written, reply.output) < 0:
        return "the usage has a negative count"
    if not 0 < prompt <= request.input_bound:
        return f"the usage counts {prompt} prompt tokens, which cannot be (1 to {request.input_bound})"
    if reply.output > request.output_bound or (reply.text and not reply.output):
        return f"the usage counts {reply.output} reply tokens, which cannot be (max_tokens={request.max_tokens})"
    return ""


def _explain(error: Exception) -> str:
    """A parse failure in one line, without the input (which pydantic would quote)."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        return f"no valid reply: {'.'.join(map(str, first['loc']))} {first['msg']}".strip()
    return f"no valid reply: {error}"
