# SPDX-License-Identifier: Apache-2.0
"""The typed schema of the `aflow:` node: every key that a user may set, its type and its range.

The YAML files under conf/aflow document each key and hold the defaults; this module says what is legal. Unknown keys
are errors. The same node is read by `python -m verl.trainer.main_ppo` (as `aflow.*`) and by `aflow-env` (at the root).
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aflow_env.errors import ConfigError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A node of the config: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TaskConfig(Section):
    """Which benchmark, and where its problems are."""

    name: str
    path: str | None = None
    train_size: Annotated[int, Field(ge=0)] = 0
    validate_size: Count = 20
    test_size: Annotated[int, Field(ge=0)] = 40
    options: dict[str, Any] = Field(default_factory=dict)


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
        if self.api_key_variable and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_variable):
            raise ValueError(
                "api_key_variable holds no variable's name (capitals, digits and _): a key itself never belongs into "
                "a config; put it into the environment and write the variable's name here, e.g. ANTHROPIC_API_KEY"
            )
        if self.base_url and ("@" in self.base_url or "?" in self.base_url):
            raise ValueError("base_url carries a password or a query: leave them out; keys come from the environment")
        return self


class ImplementerConfig(Section):
    """Who turns an Edit into a program: the deterministic rule, or an LLM."""

    kind: Literal["rule", "llm"] = "rule"
    llm: LLMConfig | None = None

    @model_validator(mode="after")
    def _complete(self) -> "ImplementerConfig":
        if self.kind == "llm" and self.llm is None:
            raise ValueError("llm is missing: implementer.kind=llm needs the model, as under executor")
        return self


class SelectionConfig(Section):
    """AFlow's soft mix: P(i) = lambda/n + (1-lambda) * softmax_i(alpha * 100 * (c_i - max c))."""

    sample: Count = 4
    alpha: NonNegative = 0.2
    lambda_: Share = 0.3
    c_ucb: NonNegative = 0.0


class WideningConfig(Section):
    """Progressive widening: a node may get another child while it has fewer than c * N^alpha."""

    enabled: bool = False
    c: Annotated[float, Field(gt=0)] = 1.0
    alpha: Share = 0.5


class ValueConfig(Section):
    """Q_theta: how the policy's belief about a workflow's best child is asked for, trained and shrunk."""

    kind: Literal["none", "digits", "prior", "critic"] = "digits"
    prior_strength: NonNegative = 4.0
    rule: Literal["quadratic", "log"] = "quadratic"
    samples: Annotated[int, Field(ge=0)] = 1
    train: bool = True
    calibrate: bool = False
    memory: Annotated[int, Field(ge=0)] = 0
    memory_run: str | None = None
    count_rejected: bool = False

    @model_validator(mode="after")
    def _can_be_had(self) -> "ValueConfig":
        if self.kind == "critic":
            raise ValueError(
                "kind=critic: verl 0.9.1 keeps its critic inside the trainer, where it values the finished rows of a "
                "batch; a search that is still going on has no way to ask it. Set kind=digits or kind=prior"
            )
        if self.memory and self.kind == "none":
            raise ValueError(f"memory={self.memory} with kind=none: there is no Q to inform; set kind=digits")
        if self.memory_run is not None and not self.memory:
            raise ValueError(f"memory_run={self.memory_run} with memory=0: nothing of it would be read; set memory=8")
        if self.calibrate and self.kind != "digits":
            raise ValueError(f"calibrate=true with kind={self.kind}: a temperature belongs to digits; set kind=digits")
        return self


class RewardConfig(Section):
    """The step reward; `best_gain` sums to best score - start score."""

    kind: Literal["best_gain", "parent_gain"] = "best_gain"
    cost_weight: NonNegative = 0.0
    invalid_penalty: NonNegative = 0.1


class ConvergenceConfig(Section):
    """AFlow's early stop: no new round among the top k for some rounds."""

    enabled: bool = False
    top_k: Count = 3
    z: NonNegative = 0.0
    consecutive_rounds: Count = 5


class StopConfig(Section):
    """Reasons to end a search before `rounds`; null means none."""

    score: Share | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    usd: NonNegative | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None


class RacingConfig(Section):
    """Give a workflow up on the way when it is surely none that selection would look at, or surely not the best."""

    enabled: bool = False
    against: Literal["candidates", "best"] = "candidates"
    block: Count = 8
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.05


class SandboxConfig(Section):
    """Where generated code runs."""

    mode: Literal["auto", "strict", "off"] = "auto"
    workers: Count = 2
    wall_seconds: Annotated[float, Field(gt=0)] = 60.0
    cpu_seconds: Count = 30
    memory_mb: Annotated[int, Field(ge=64)] = 512
    output_bytes: Annotated[int, Field(ge=1024)] = 262_144
    calls: Count = 64
    disk_mb: Count = 64
    threads: Count = 64


class BudgetConfig(Section):
    """Ceilings for the whole run; null means none."""

    usd: NonNegative | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=0)] | None = None


class ProblemsConfig(Section):
    """The search problems that become rows of the data sets: (task, seed, start workflow)."""

    train: Count = 64
    validate_: Annotated[int, Field(ge=1, alias="validate")] = 2
    start: str = "default"


class PolicyServerConfig(Section):
    """A policy checkpoint behind an OpenAI-compatible server: guides `aflow-env search` without a trainer."""

    base_url: str | None = None
    model: str = ""
    api_key_variable: str | None = None
    prices: str | None = "free"
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 1.0
    max_tokens: Count = 512
    concurrency: Count = 16
    timeout_seconds: Annotated[float, Field(gt=0)] = 120.0


class AflowConfig(Section):
    """The whole `aflow:` node."""

    task: TaskConfig
    executor: LLMConfig
    implementer: ImplementerConfig = ImplementerConfig()
    policy: PolicyServerConfig = PolicyServerConfig()
    proposer: Literal["policy", "guided", "random", "llm"] = "policy"
    action: Literal["edit", "code"] = "edit"
    rounds: Count = 4
    rl_weight: Share = 0.5
    rl_weight_schedule: Literal["constant", "linear", "skill"] = "constant"
    rl_weight_ramp: Count = 10
    seed: int = 0
    limit: Count | None = None
    repeats: Count = 1
    infrastructure_limit: Share = 0.2
    tree: Literal["session", "group"] = "session"
    in_flight: Count = 1
    duplicates: Literal["parent", "tree"] = "parent"
    run_dir: str
    shared: Literal["auto", "local", "ray"] = "auto"
    recording: str | None = None
    cache: str | None = None
    state_characters: Annotated[int, Field(ge=200)] = 6000
    failed_cases: Annotated[int, Field(ge=0)] = 2
    experience_entries: Annotated[int, Field(ge=0)] = 6
    instructions: tuple[str, ...] = ()
    selection: SelectionConfig = SelectionConfig()
    widening: WideningConfig = WideningConfig()
    q: ValueConfig = ValueConfig()
    reward: RewardConfig = RewardConfig()
    convergence: ConvergenceConfig = ConvergenceConfig()
    stop: StopConfig = StopConfig()
    racing: RacingConfig = RacingConfig()
    sandbox: SandboxConfig = SandboxConfig()
    budget: BudgetConfig = BudgetConfig()
    problems: ProblemsConfig = ProblemsConfig()
    final_test: bool = True

    @property
    def form(self) -> Literal["edit", "code", "suggestion"]:
        """What a proposal is: an edit, whole code, or a suggestion that the implementer's LLM turns into code."""
        return "suggestion" if self.proposer == "guided" else self.action

    @model_validator(mode="after")
    def _somebody_writes_the_code(self) -> "AflowConfig":
        if self.proposer == "guided" and self.implementer.kind != "llm":
            raise ValueError(
                f"proposer=guided with implementer.kind={self.implementer.kind}: the policy only suggests, and an LLM "
                "has to write the code. Set implementer=llm and implementer.llm.model=..., or proposer=policy"
            )
        if self.proposer == "guided" and self.action != "edit":
            raise ValueError(f"proposer=guided with action={self.action}: a suggestion is no code; leave action out")
        return self

    @model_validator(mode="after")
    def _policy_is_there(self) -> "AflowConfig":
        if self.rl_weight > 0 and self.q.kind == "none":
            raise ValueError(
                f"rl_weight={self.rl_weight} with q.kind=none: the search would be told to follow a Q that does not "
                "exist. Set q.kind=digits, or rl_weight=0 for stock AFlow selection"
            )
        return self

    @model_validator(mode="after")
    def _recording_is_read(self) -> "AflowConfig":
        if self.recording and self.executor.mode != "replay":
            raise ValueError(
                f"recording={self.recording} with executor.mode={self.executor.mode}: a recording is only read in a "
                "replay. Set executor.mode=replay, or leave recording out"
            )
        return self

    @model_validator(mode="after")
    def _cache_is_used(self) -> "AflowConfig":
        if self.cache and self.executor.mode != "record":
            raise ValueError(
                f"cache={self.cache} with executor.mode={self.executor.mode}: completions are shared where they are "
                "recorded. Set executor.mode=record, or leave cache out"
            )
        return self

    @model_validator(mode="after")
    def _simulation_knows_the_task(self) -> "AflowConfig":
        if self.executor.kind == "simulated" and self.task.name != "arithmetic":
            raise ValueError(
                f"executor=simulated with task.name={self.task.name}: the simulation only knows the generated "
                "arithmetic problems and would answer everything else wrong. Set a real executor, or task=arithmetic"
            )
        return self


def parse(node: DictConfig | dict[str, Any], where: str = "aflow") -> AflowConfig:
    """Turn a composed `aflow:` node into the typed config.

    Raises ConfigError in one paragraph that names each wrong key (as the user would type it), its value and what is
    legal.
    """
    plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=False) if isinstance(node, DictConfig) else node
    try:
        return AflowConfig.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from None


def explain(error: ValidationError, where: str) -> str:
    """One sentence per wrong key, in the user's own spelling of it."""
    sentences = []
    for item in error.errors():
        key = ".".join([where, *map(str, item["loc"])]).strip(".")
        if item["type"] == "extra_forbidden":
            sentences.append(
                f"{key}={item['input']!r}: there is no such key; remove it or see conf/aflow for the keys that exist"
            )
        elif item["type"] == "missing":
            sentences.append(f"{key} is missing: set it")
        elif item["type"] == "value_error":
            sentences.append(f"{key}: {item['ctx']['error']}" if key else str(item["ctx"]["error"]))
        else:
            sentences.append(f"{key}={item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return ". ".join(sentences) + "."


def config_directory() -> Path:
    """The folder of YAML files:

    inside the installed package, or conf/ of the checkout. Raises ConfigError when neither exists.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "aflow_gigpo.yaml").is_file():
            return candidate
    raise ConfigError(f"aflow_env's YAML files are missing beside {package}: reinstall the package")
