# SPDX-License-Identifier: Apache-2.0
"""The path of a request over HTTP: the time-out, the errors, the reading of a reply, and a check of its usage.

Servers reply in many dialects, so a reply is read for the few fields we use, and the rest is ignored. A missing field,
an empty text or an impossible count is an LLMError: a failure never becomes a text. Where a price is set, a reply
without usage is an error too. Without a price its tokens are estimated.
"""

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ValidationError

from aflow_env.config import LLMConfig
from aflow_env.llm.client import BYTES_PER_TOKEN, Completion, ErrorKind, LLMError, PromptTooLong, Request
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import PICO, Price
from aflow_env.llm.providers.answer import JSON, LARGEST, Answer, failure, one_line, request_id

log = logging.getLogger(__name__)

LONGEST_TOKEN = 256
"""Bytes. The longest tokens of the vocabularies in use are runs of 128 spaces and of 64 dashes of three bytes each."""
ADDED_PROMPT = 100_000  # tokens that a gateway may add to a prompt: a system prompt of its own, tools

Stop = Literal["stop", "length", "refused", "unknown"]
STOPS: dict[str, Stop] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "model_length", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(("content_filter", "refusal", "safety", "recitation", "sensitive"), "refused"),
}
BROKEN = ("error", "abort", "aborted", "cancelled", "insufficient_system_resource", "network_error")


class Lenient(BaseModel):
    """A part of a reply: the fields we use are checked, and all others are ignored."""


@dataclass(frozen=True)
class Reply:
    """A reply in our words. `size` is the bytes that the model wrote.

    `fresh`, `read`, `written`: prompt tokens not cached, from and to the cache. `fresh` and `output` are None where the
    server reported no usage.
    """

    text: str
    size: int
    model: str
    stop: Stop
    fresh: int | None
    output: int | None
    read: int = 0
    written: int = 0

    @property
    def prompt(self) -> int:
        """All prompt tokens that the server reported."""
        return (self.fresh or 0) + self.read + self.written

    @property
    def counted(self) -> bool:
        """Whether the server reported the usage. A server that does not count may report a prompt of no tokens."""
        told = self.fresh is not None and self.output is not None
        return told and self.prompt > 0 and bool(self.output or not self.text)


class Provider:
    """An LLMClient over HTTP. A subclass sends and reads. One attempt a call, no retries.

    A server that refuses the schema of a request is asked a second time: nothing was answered or billed then.
    """

    largest = LARGEST

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
                outcome = await self._structured_or_plain(request)
        except TimeoutError:
            outcome = LLMError("timeout", f"no whole reply within {seconds:g} s", bill="unknown")
        if isinstance(outcome, Answer):
            return self._completion(request, outcome, time.monotonic() - started)
        # raised outside any handler: a library's exception in __context__ would carry the request and its key
        raise outcome

    async def aclose(self) -> None:
        raise NotImplementedError

    async def _structured_or_plain(self, request: Request) -> Answer | LLMError | PromptTooLong:
        """Send once. A request with a schema goes out again without it when the server refuses the schema."""
        plain = request.unstructured
        if not request.structured or not self._structured:
            return await self._attempt(plain)
        outcome = await self._attempt(request)
        if not isinstance(outcome, LLMError) or outcome.kind != "bad_request":
            return outcome
        second = await self._attempt(plain)
        if isinstance(second, Answer) and self._structured:
            self._structured = False
            log.warning("structured=auto: the server refuses the JSON schema, replies are parsed instead (%s)", outcome)
        return second

    async def _attempt(self, request: Request) -> Answer | LLMError | PromptTooLong:
        outcome = await self._send(request)
        return outcome if isinstance(outcome, LLMError) else failure(outcome, request) or outcome

    async def _send(self, request: Request) -> Answer | LLMError:
        """Send once. Return the answer of any status, or the error of the way to the server."""
        raise NotImplementedError

    def _clean(self, text: str) -> str:
        return one_line(self._key.scrub(text))

    def _disconnected(self, text: str, never_sent: bool) -> LLMError:
        """Return the error of a reply that did not come whole. Without a connection nothing was billed."""
        text = self._clean(text)
        if not never_sent:
            return LLMError("connection", text, bill="unknown")
        return LLMError("connection", f"{text}: is the server up, and is base_url its address (host, port, /v1)?")

    def _read(self, plain: JSON) -> Reply:
        """Read a reply from its parsed JSON. Raises ValidationError or ValueError when it is not one."""
        raise NotImplementedError

    def _completion(self, request: Request, answer: Answer, seconds: float) -> Completion:
        name = request_id(answer.headers)
        try:
            reply = self._read(answer.plain)
            problem = impossible(reply, request)
            if not (problem or reply.counted or self._price is None or self._price.is_free):
                problem = (
                    f"the server tells no usage, so the cost of the call by the price of {self._config.model} is not "
                    "known: have the server send usage, or set prices=free if it costs nothing"
                )
        except ValueError as error:
            said: object = error
            if isinstance(error, ValidationError):  # in one line, without the input, which pydantic would quote
                first = error.errors(include_input=False, include_url=False, include_context=False)[0]
                said = f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()
            problem = f"no valid reply: {said}"
        if problem:
            text = f"{problem}; the reply begins {answer.begin[:120]!r}"
            raise LLMError("malformed", text, request_id=name, bill="unknown")
        completion = self._counted(reply, request, name, seconds)
        kind: ErrorKind = "malformed"
        text = "the reply has no text (accept_empty=true takes it as an answer)"
        if reply.stop == "refused":
            kind, text = "refused", "the model declined"
        elif reply.text or self._config.accept_empty:
            return completion
        elif completion.stop_reason == "length":
            kind = "no_text"
            text = f"the reply was cut at max_tokens={request.max_tokens} before any text (thinking counts): raise it"
        raise LLMError(kind, text, request_id=name, bill="told", billed=completion)

    def _counted(self, reply: Reply, request: Request, name: str, seconds: float) -> Completion:
        """Return the completion. Tokens that the server does not report are estimated."""
        told = reply.counted
        fresh = (reply.fresh or 0) if told else math.ceil(request.prompt_bytes / BYTES_PER_TOKEN)
        output = (reply.output or 0) if told else math.ceil(reply.size / BYTES_PER_TOKEN)
        picos = self._price.cost(fresh, output, reply.read, reply.written) if self._price else 0
        stop = reply.stop
        if stop == "unknown":
            stop = "length" if told and output >= request.max_tokens else "stop"
        return Completion(
            text=reply.text,
            model=one_line(reply.model)[:200] or self._config.model,
            input_tokens=fresh,
            output_tokens=output,
            cache_read_tokens=reply.read,
            cache_write_tokens=reply.written,
            cost_usd=picos / PICO,
            cost_known=self._price is not None,
            counted=told,
            stop_reason=stop,
            request_id=name,
            seconds=seconds,
        )


def stop_of(reason: object) -> Stop:
    """Read a server's finish_reason or stop_reason. Raises ValueError where the reply was broken off."""
    name = reason.lower() if isinstance(reason, str) else ""
    if name in BROKEN:
        raise ValueError(f"the server broke the reply off: {name}")
    return STOPS.get(name, "unknown")


def impossible(reply: Reply, request: Request) -> str:
    """Return why text and usage of a reply cannot be true, or the empty string."""
    output = reply.output or 0
    if min(reply.fresh or 0, reply.read, reply.written, output) < 0:
        return "the usage has a negative count"
    if reply.prompt > request.input_bound + ADDED_PROMPT:
        size = f"the prompt has {request.prompt_bytes} bytes"
        return f"the usage counts {reply.prompt} prompt tokens, which cannot be ({size})"
    if output > request.output_bound:
        return f"the usage counts {output} reply tokens, which cannot be (max_tokens={request.max_tokens})"
    tokens = output + 1 if reply.counted else request.output_bound
    if reply.size > LONGEST_TOKEN * tokens:
        return f"the reply has {reply.size} bytes, which cannot be in {tokens} tokens"
    return ""
