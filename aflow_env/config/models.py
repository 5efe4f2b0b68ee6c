# SPDX-License-Identifier: Apache-2.0
"""Nodes that name a model: the executor, the implementer, a served policy."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from aflow_env.config.guards import Address, check_extras
from aflow_env.config.section import Section

Many = Annotated[int, Field(ge=1, le=10_000_000)]
Seconds = Annotated[float, Field(gt=0, le=604_800, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0, allow_inf_nan=False)]
Words = Annotated[str, Field(coerce_numbers_to_str=True)]
NoneIsEmpty = BeforeValidator(lambda given: {} if given is None else given)

SERVERS = ("openai", "anthropic")
DECIDE = (
    *("send_temperature", "send_seed", "effort", "accept_empty"),
    *("extra_body", "headers", "query", "top_p", "stop"),
)
"""Keys that decide a completion, beside kind and model."""


class LLMConfig(Section):
    """A model that answers prompts: the executor of workflows, or an implementer of edits."""

    kind: Literal["simulated", "openai", "anthropic", "policy", "table"]
    model: str = ""
    base_url: Address | None = None
    api_key_variable: str | None = None
    api_key_file: str | None = None
    api_key_header: Annotated[str, Field(pattern="^[A-Za-z0-9-]+$")] = "Authorization"
    extra_body: Annotated[dict[str, Any], NoneIsEmpty] = Field(default_factory=dict)
    headers: Annotated[dict[str, Words], NoneIsEmpty] = Field(default_factory=dict)
    query: Annotated[dict[str, Words], NoneIsEmpty] = Field(default_factory=dict)
    temperature: Temperature = 0.0
    sample_temperature: Temperature = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    stop: tuple[str, ...] = ()
    max_tokens: Many = 1024
    concurrency: Many = 16
    tokens_per_minute: Annotated[int, Field(ge=0, le=10**12)] = 0
    timeout_seconds: Seconds = 120.0
    max_attempts: Many = 6
    retry_seconds: Seconds = 1.0
    retry_max_seconds: Seconds = 60.0
    breaker_failures: Many = 20
    breaker_seconds: Seconds = 30.0
    send_temperature: bool | None = None
    send_seed: bool = True
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    effort: str | None = None
    prompt_cache: bool = True
    accept_empty: bool = False
    structured: Literal["off", "auto"] = "off"
    batch: bool = False
    batch_seconds: Seconds = 2.0
    batch_poll_seconds: Seconds = 30.0
    landscape: str | None = None
    prices: str | None = None
    mode: Literal["live", "record", "replay"] = "record"

    @model_validator(mode="after")
    def _complete(self) -> "LLMConfig":
        if self.kind == "openai" and not self.base_url:
            raise ValueError("base_url is missing: name the server, e.g. executor.base_url=http://localhost:8000/v1")
        if self.kind in SERVERS and not self.model:
            raise ValueError(f"model is missing: name the model that the {self.kind} server should run")
        if self.batch and self.kind != "anthropic":
            raise ValueError(f"batch=true: kind={self.kind} has no Message Batches; set batch=false or kind=anthropic")
        if self.structured == "auto" and self.kind not in SERVERS:
            raise ValueError(f"structured=auto: kind={self.kind} has no structured outputs; set structured=off")
        if self.batch and self.structured == "auto":
            raise ValueError("batch=true with structured=auto: a batch cannot fall back to tags; set structured=off")
        if self.api_key_variable and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_variable):
            raise ValueError(
                "api_key_variable holds no variable's name (capitals, digits and _): put the key into the environment "
                "and write the variable's name here, e.g. ANTHROPIC_API_KEY"
            )
        where: dict[str, tuple[str, ...]] = dict.fromkeys(("top_p", "api_key_header"), ("openai",))
        where |= dict.fromkeys(("extra_body", "headers", "query", "stop"), SERVERS)
        for name in self.departures(*where):
            if self.kind not in where[name]:
                raise ValueError(f"{name}: kind={self.kind} sends none; leave {name} out, or set kind={where[name][0]}")
        check_extras(self.headers, self.query, self.extra_body)
        if self.api_key_header in self.headers:
            raise ValueError(f"headers.{self.api_key_header}: api_key_header sends the key there; leave one out")
        return self

    def departures(self, *names: str) -> dict[str, Any]:
        """Return the keys of `names` that are not at their default: they leave a digest of defaults as it is."""
        plain = self.model_dump(mode="json", include=set(names), exclude_defaults=True)
        return {name: plain[name] for name in names if name in plain}

    @property
    def decisive(self) -> dict[str, Any]:
        """All keys that decide a completion beside the request, without address and landscape."""
        return {"kind": self.kind, "model": self.model, **self.departures(*DECIDE)}


class ImplementerConfig(Section):
    """The implementer that turns an Edit into a program: the deterministic rule, or an LLM."""

    kind: Literal["rule", "llm"] = "rule"
    llm: LLMConfig | None = None

    @model_validator(mode="after")
    def _complete(self) -> "ImplementerConfig":
        if self.kind == "llm" and self.llm is None:
            raise ValueError("llm is missing: implementer.kind=llm needs the model, as under executor")
        return self


class PolicyServerConfig(Section):
    """A policy checkpoint behind an OpenAI-compatible server: guides `aflow-env search` without a trainer."""

    base_url: Address | None = None
    model: str = ""
    api_key_variable: str | None = None
    prices: str | None = "free"
    temperature: Annotated[float, Field(gt=0.0, le=2.0)] = 1.0
    max_tokens: Many = 512
    structured: Literal["off", "auto"] = "off"
    concurrency: Many = 16
    timeout_seconds: Seconds = 120.0

    @model_validator(mode="after")
    def _is_somewhere(self) -> "PolicyServerConfig":
        if self.model and not self.base_url:
            raise ValueError(
                f"model={self.model} without base_url: the search would go unguided. Set "
                "policy.base_url=http://localhost:8000/v1, or leave policy.model out"
            )
        return self
