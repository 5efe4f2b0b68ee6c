# SPDX-License-Identifier: Apache-2.0
"""Nodes that name a model: the executor, the implementer, a served policy."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aflow_env.config.base import Count, Section


class LLMConfig(Section):
    """A model that answers prompts: the executor of workflows, or an implementer of edits."""

    kind: Literal["simulated", "openai", "anthropic", "policy"]
    model: str = ""
    base_url: str | None = None
    api_key_variable: str | None = None
    api_key_file: str | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    max_tokens: Count = 1024
    concurrency: Count = 16
    tokens_per_minute: Annotated[int, Field(ge=0)] = 0
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0
    max_attempts: Count = 6
    retry_seconds: Annotated[float, Field(gt=0)] = 1.0
    retry_max_seconds: Annotated[float, Field(gt=0)] = 60.0
    breaker_failures: Count = 20
    breaker_seconds: Annotated[float, Field(gt=0)] = 30.0
    send_temperature: bool | None = None
    send_seed: bool = True
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    effort: str | None = None
    prompt_cache: bool = True
    accept_empty: bool = False
    structured: Literal["off", "auto"] = "off"
    batch: bool = False
    batch_seconds: Annotated[float, Field(gt=0)] = 2.0
    batch_poll_seconds: Annotated[float, Field(gt=0)] = 30.0
    landscape: str | None = None
    prices: str | None = None
    mode: Literal["live", "record", "replay"] = "record"

    @model_validator(mode="after")
    def _complete(self) -> "LLMConfig":
        if self.kind == "openai" and not self.base_url:
            raise ValueError(
                "base_url is missing: an openai executor needs the server's address, "
                "e.g. executor.base_url=http://localhost:8000/v1"
            )
        if self.kind in ("openai", "anthropic") and not self.model:
            raise ValueError(f"model is missing: name the model that the {self.kind} server should run")
        if self.batch and self.kind != "anthropic":
            raise ValueError(f"batch=true: kind={self.kind} has no Message Batches; set batch=false or kind=anthropic")
        if self.structured == "auto" and self.kind not in ("openai", "anthropic"):
            raise ValueError(f"structured=auto: kind={self.kind} has no structured outputs; set structured=off")
        if self.batch and self.structured == "auto":
            raise ValueError(
                "batch=true with structured=auto: where the server refuses the schema, a batch is not asked again "
                "without it; set structured=off, or batch=false"
            )
        if self.api_key_variable and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_variable):
            raise ValueError(
                "api_key_variable holds no variable's name (capitals, digits and _): a key itself never belongs into "
                "a config; put it into the environment and write the variable's name here, e.g. ANTHROPIC_API_KEY"
            )
        if self.base_url and ("@" in self.base_url or "?" in self.base_url):
            raise ValueError("base_url carries a password or a query: leave them out; keys come from the environment")
        return self

    def departures(self, *names: str) -> dict[str, Any]:
        """Those of these keys that are not at their default: what enters a digest without changing that of defaults."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value != type(self).model_fields[name].default}


class ImplementerConfig(Section):
    """Who turns an Edit into a program: the deterministic rule, or an LLM."""

    kind: Literal["rule", "llm"] = "rule"
    llm: LLMConfig | None = None

    @model_validator(mode="after")
    def _complete(self) -> "ImplementerConfig":
        if self.kind == "llm" and self.llm is None:
            raise ValueError("llm is missing: implementer.kind=llm needs the model, as under executor")
        return self


class PolicyServerConfig(Section):
    """A policy checkpoint behind an OpenAI-compatible server: guides `aflow-env search` without a trainer."""

    base_url: str | None = None
    model: str = ""
    api_key_variable: str | None = None
    prices: str | None = "free"
    temperature: Annotated[float, Field(gt=0.0, le=2.0)] = 1.0
    max_tokens: Count = 512
    structured: Literal["off", "auto"] = "off"
    concurrency: Count = 16
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0

    @model_validator(mode="after")
    def _is_somewhere(self) -> "PolicyServerConfig":
        if self.model and not self.base_url:
            raise ValueError(
                f"model={self.model} without base_url: nobody serves it, and the search would go unguided. Set "
                "policy.base_url=http://localhost:8000/v1, or leave policy.model out"
            )
        return self
