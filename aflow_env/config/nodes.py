# SPDX-License-Identifier: Apache-2.0
"""The nodes of the config: models, the search, its end and its reward, problems, the sandbox, the budget."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from aflow_env.config.section import (
    MANY,
    Address,
    Count,
    CountOrZero,
    NonNegative,
    Place,
    Seconds,
    Section,
    Share,
    Total,
    check_extras,
)
from aflow_env.jail_limits import JailLimits

Temperature = Annotated[float, Field(ge=0.0, le=2.0)]
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
    max_tokens: Count = 1024
    concurrency: Count = 16
    tokens_per_minute: Annotated[int, Field(ge=0, le=10**12)] = 0
    timeout_seconds: Seconds = 120.0
    max_attempts: Count = 6
    retry_seconds: Seconds = 1.0
    retry_max_seconds: Seconds = 60.0
    breaker_failures: Count = 20
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
    max_tokens: Count = 512
    structured: Literal["off", "auto"] = "off"
    concurrency: Count = 16
    timeout_seconds: Seconds = 120.0

    @model_validator(mode="after")
    def _is_somewhere(self) -> "PolicyServerConfig":
        if self.model and not self.base_url:
            raise ValueError(
                f"model={self.model} without base_url: the search would go unguided. Set "
                "policy.base_url=http://localhost:8000/v1, or leave policy.model out"
            )
        return self


class SelectionConfig(Section):
    """AFlow's soft mix: P(i) = lambda/n + (1-lambda) * softmax_i(alpha * 100 * (c_i - max c))."""

    sample: Count = 4
    alpha: NonNegative = 0.2
    lambda_: Share = 0.3
    c_ucb: NonNegative = 0.0
    cost_weight: NonNegative = 0.0


class LookaheadConfig(Section):
    """How many proposals a round chooses among. One edit of one node is AFlow: select a node, then propose."""

    nodes: Count = 16
    edits: Count = 8

    @property
    def chooses(self) -> bool:
        """Whether a round may have more than one proposal to choose from."""
        return self.nodes > 1 or self.edits > 1


class ValueConfig(Section):
    """Q(s, a): the predictor of a proposed edit's score, and the training of the policy's prediction."""

    kind: Literal["none", "policy", "surrogate"] = "policy"
    runs: tuple[str, ...] = ()
    fewest: Count = 40
    replay: CountOrZero = 3

    @property
    def rows(self) -> int:
        """Value rows of an expansion in training."""
        return int(self.kind == "policy" and self.replay > 0)


class RewardConfig(Section):
    """The step reward. `best_gain` sums to best score - start score."""

    kind: Literal["best_gain", "parent_gain"] = "best_gain"
    cost_weight: NonNegative = 0.0
    invalid_penalty: NonNegative = 0.1


class ConvergenceConfig(Section):
    """AFlow's early stop: the mean of the top k scores has not moved for some rounds. Null means never."""

    top_k: Count = 3
    consecutive_rounds: Count | None = None


class StopConfig(Section):
    """Reasons to end a search before `rounds`. Null means none."""

    score: Share | None = None
    seconds: Seconds | None = None
    usd: NonNegative | None = None
    tokens: Total | None = None


class TaskConfig(Section):
    """The benchmark, and the place of its problems."""

    name: str
    path: Place | None = None
    table: Place | None = None
    train_size: CountOrZero = 0
    validate_size: Count = 20
    test_size: CountOrZero = 40
    options: dict[str, Any] = Field(default_factory=dict)
    instructions: tuple[str, ...] = ()

    @field_validator("options")
    @classmethod
    def _given(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Drop options that are null."""
        return {name: value for name, value in options.items() if value is not None}


class SandboxConfig(Section):
    """The sandbox of generated code."""

    mode: Literal["auto", "strict", "off"] = "auto"
    workers: Count = 2
    wall_seconds: Seconds = JailLimits.wall_seconds
    cpu_seconds: Count = JailLimits.cpu_seconds
    memory_mb: Annotated[int, Field(ge=64, le=MANY)] = JailLimits.memory_mb
    output_bytes: Annotated[int, Field(ge=1024, le=1024 * MANY)] = JailLimits.output_bytes
    calls: Count = JailLimits.calls
    disk_mb: Count = JailLimits.disk_mb
    threads: Count = JailLimits.threads

    @property
    def limits(self) -> JailLimits:
        """The limits of one child."""
        return JailLimits(**self.model_dump(exclude={"mode", "workers"}))


class BudgetConfig(Section):
    """Ceilings for the whole run. Null means none."""

    usd: NonNegative | None = None
    tokens: Total | None = None
    calls: Total | None = None


class ProblemsConfig(Section):
    """The search problems that become rows of the data sets: (task, seed, start workflow)."""

    train: Count = 64
    validate_: Annotated[Count, Field(alias="validate")] = 2
    start: Place = "default"
