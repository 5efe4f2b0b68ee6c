# SPDX-License-Identifier: Apache-2.0
"""Ask a language model: `Request` in, `Completion` out, `LLMError` when the world failed.

All clients of this room are an `LLMClient` or wrap one. A completion is always text that a model wrote: a failure is an
exception, never a text.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from pydantic import BeforeValidator, Field

from aflow_env.config.section import Section
from aflow_env.errors import ConfigError, InfrastructureError, WorkflowError


def derive_seed(seed: int, request: "Request") -> int:
    """Return 31 bits for the sampler: equal for equal seeds and requests, and different for each `sample`."""
    return int(hashlib.sha256(f"{seed}:{request.key}".encode()).hexdigest()[:8], 16) >> 1


ErrorKind = Literal[
    "rate_limited",  # 429: too many requests or tokens; wait
    "overloaded",  # 503, 529: the provider has no capacity now
    "server_error",  # 500 and its kin
    "timeout",  # no whole reply within the call's time-out
    "connection",  # refused, reset, DNS, TLS, proxy
    "unreachable",  # the same, of an address that has never answered
    "malformed",  # a reply that is not one: broken JSON, no content, impossible usage
    "refused",  # the model declined, or a content filter cut in
    "no_text",  # cut at max_tokens before any text (thinking counts): raise max_tokens
    "authentication",  # the key is missing, wrong or not allowed
    "quota",  # the account has no money left
    "not_found",  # no such model or address
    "bad_request",  # the provider rejects a parameter
]
RETRYABLE: frozenset[ErrorKind] = frozenset(
    ("rate_limited", "overloaded", "server_error", "timeout", "connection", "unreachable", "malformed")
)
FATAL: frozenset[ErrorKind] = frozenset(("authentication", "quota", "not_found", "unreachable"))


def _well_formed(text: object) -> object:
    """Replace lone surrogates, which generated code can make, by `?`: no provider and no store takes them."""
    return text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else text


BYTES_PER_TOKEN = 4  # the usual estimate

Text = Annotated[str, BeforeValidator(_well_formed)]
Tokens = Annotated[int, Field(ge=0)]


class Message(Section):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Request(Section):
    """All that decides a completion. `sample` is the k-th independent draw of the same prompt (k from 0).

    `fields`: the reply should be a JSON object with a text under each of these names (structured outputs).
    `schema_text`: it should be JSON of this schema instead.
    """

    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    model: str = ""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    sample: Annotated[int, Field(ge=0)] = 0
    stop: tuple[Text, ...] = ()
    fields: tuple[str, ...] = ()
    schema_text: str = ""

    @property
    def structured(self) -> bool:
        """Whether the reply has to follow a schema."""
        return bool(self.fields or self.schema_text)

    @property
    def unstructured(self) -> "Request":
        """The same request without a schema."""
        return self.model_copy(update={"fields": (), "schema_text": ""})

    @property
    def key(self) -> str:
        """64 hex digits: equal for equal requests only, in every process and version of Python."""
        absent = {name for name in ("fields", "schema_text") if not getattr(self, name)}
        plain = self.model_dump(mode="json", exclude=absent)
        canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    @property
    def prompt_bytes(self) -> int:
        return sum(len(message.content.encode()) for message in self.messages)

    @property
    def input_bound(self) -> int:
        """The most tokens of the messages: one a byte, plus a generous chat template."""
        schema = sum(len(name.encode()) + 128 for name in self.fields) + len(self.schema_text.encode())
        return self.prompt_bytes + 16 * len(self.messages) + 512 + schema

    @property
    def reply_schema(self) -> dict[str, object]:
        """The JSON schema of a structured reply."""
        if self.schema_text:
            found: dict[str, object] = json.loads(self.schema_text)
            return found
        properties = {name: {"type": "string"} for name in self.fields}
        required = list(properties)
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    @property
    def output_bound(self) -> int:
        """The most tokens that can be billed for the reply (some servers count the end token apart)."""
        return self.max_tokens + 16


class Completion(Section):
    """A model's answer and its cost.

    `input_tokens` leaves out the tokens read from or written to the provider's prompt cache: `cache_read_tokens`,
    `cache_write_tokens`. Where no price is known, `cost_known` is False and `cost_usd` is 0. Where the server reported
    no usage, `counted` is False and tokens are estimated at `BYTES_PER_TOKEN`. `stop_reason` is `stop` (the model
    ended, or a stop sequence did), `length` (cut at max_tokens), or the kind of an error without an answer (record.py).
    `seconds` is the time of the successful attempt.
    """

    text: Text
    model: str
    input_tokens: Tokens
    output_tokens: Tokens
    cache_read_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    cost_usd: Annotated[float, Field(ge=0.0)] = 0.0
    cost_known: bool = True
    counted: bool = True
    stop_reason: str = "stop"
    request_id: str = ""
    seconds: Annotated[float, Field(ge=0.0)] = 0.0

    @property
    def tokens(self) -> int:
        """All tokens of the call: prompt (cached or not) and reply."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens + self.output_tokens


class LLMClient(Protocol):
    """Anything that completes requests."""

    async def complete(self, request: Request) -> Completion:
        """Answer `request`.

        Raises LLMError when the provider failed, PromptTooLong when the prompt does not fit the model, BudgetExhausted
        when the next call could pass the budget.
        """
        ...

    async def aclose(self) -> None:
        """Release connections. The client is not used afterwards."""
        ...


@dataclass(eq=False)
class Wrapper:
    """An LLMClient around another one. A subclass passes the request on."""

    inner: LLMClient

    async def aclose(self) -> None:
        await self.inner.aclose()


class Nobody:
    """The LLMClient of executor.kind=table, whose outcomes are those of whole workflows."""

    async def complete(self, request: Request) -> Completion:
        """Refuse."""
        raise ConfigError("executor.kind=table answers no prompt: set another executor to run a workflow")

    async def aclose(self) -> None:
        """Nothing to release."""


class LLMError(InfrastructureError):
    """The provider or the way to it failed: never a score.

    `retry_after` is the provider's own wish in seconds. `bill` is the cost of the failed attempt: nothing, reported by
    the provider (`billed`), or unknown.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        retry_after: float | None = None,
        request_id: str = "",
        bill: Literal["none", "told", "unknown"] = "none",
        billed: Completion | None = None,
    ) -> None:
        super().__init__(f"{kind}: {message}" + (f" (request id {request_id})" if request_id else ""))
        self.kind = kind
        self.retry_after = retry_after
        self.request_id = request_id
        self.bill = bill
        self.billed = billed

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed when it is sent again."""
        return self.kind in RETRYABLE

    @property
    def unanswered(self) -> bool:
        """Whether the model was asked and gave no text, which the prompt may have caused."""
        return self.kind in ("refused", "no_text") or self.billed is not None

    @property
    def fatal(self) -> bool:
        """Whether no later call can succeed until the user acts, so the run should stop."""
        return self.kind in FATAL


class PromptTooLong(WorkflowError):
    """The workflow built a prompt that does not fit the model. That is its own fault, so it counts.

    It costs nothing, as an LLMError with the same `bill`.
    """

    bill = "none"
    billed = None
