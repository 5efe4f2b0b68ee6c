# SPDX-License-Identifier: Apache-2.0
"""The whole `aflow:` node, the rules between its parts, and the way to it from composed YAML.

A wrong config becomes one paragraph that names each mistake.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, Field, ValidationError, model_validator

from aflow_env.config import nodes
from aflow_env.config.section import MANY, Count, CountOrZero, Place, Section, Seed, Share
from aflow_env.errors import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)


class AflowConfig(Section):
    """The whole `aflow:` node."""

    task: nodes.TaskConfig
    executor: nodes.LLMConfig
    implementer: nodes.ImplementerConfig = nodes.ImplementerConfig()
    policy: nodes.PolicyServerConfig = nodes.PolicyServerConfig()
    proposer: Literal["policy", "guided", "random", "llm"] = "policy"
    action: Literal["edit", "code"] = "edit"
    rounds: Count = 4
    rl_weight: Share = 0.5
    seed: Seed = 0
    limit: Count | None = None
    repeats: Count = 1
    infrastructure_limit: Share = 0.2
    in_flight: Count = 1
    redraws: CountOrZero = 3
    lookahead: nodes.LookaheadConfig = nodes.LookaheadConfig()
    run_dir: Place
    shared: Literal["auto", "local", "ray"] = "auto"
    recording: Place | None = None
    cache: Place | None = None
    state_characters: Annotated[int, Field(ge=200, le=MANY)] = 6000
    failed_cases: CountOrZero = 2
    experience_entries: CountOrZero = 6
    selection: nodes.SelectionConfig = nodes.SelectionConfig()
    q: nodes.ValueConfig = nodes.ValueConfig()
    reward: nodes.RewardConfig = nodes.RewardConfig()
    convergence: nodes.ConvergenceConfig = nodes.ConvergenceConfig()
    stop: nodes.StopConfig = nodes.StopConfig()
    sandbox: nodes.SandboxConfig = nodes.SandboxConfig()
    budget: nodes.BudgetConfig = nodes.BudgetConfig()
    problems: nodes.ProblemsConfig = nodes.ProblemsConfig()
    final_calls: CountOrZero | None = 2000
    logger: tuple[Literal["wandb", "tensorboard", "jsonl"], ...] = ()

    @property
    def on_policy(self) -> "AflowConfig":
        """The config of a training session: each round draws one edit of one node.

        Q chooses nothing there, so rounds do not wait for it. The trainer asks once the session has been played.
        """
        one = self.lookahead.model_copy(update={"nodes": 1, "edits": 1})
        nobody = self.q.model_copy(update={"kind": "none"})
        return self.model_copy(update={"lookahead": one, "rl_weight": 0.0, "redraws": 0, "q": nobody})

    @property
    def form(self) -> Literal["edit", "code", "suggestion"]:
        """What a proposal is: an edit, whole code, or a suggestion that the implementer's LLM turns into code."""
        return "suggestion" if self.proposer == "guided" else self.action

    @property
    def counting_usd(self) -> dict[str, float]:
        """The keys, with their values, that count USD of evaluations. They need a known price."""
        keys = {"stop.usd": self.stop.usd, "reward.cost_weight": self.reward.cost_weight or None}
        keys["selection.cost_weight"] = self.selection.cost_weight or None
        return {key: value for key, value in keys.items() if value is not None}

    @model_validator(mode="after")
    def _consistent(self) -> "AflowConfig":
        """Refuse keys that contradict each other. The first contradiction is named, with the fix."""
        executor, llm, rule = self.executor, self.implementer.llm, self.convergence
        code, mode, quiet = self.action == "code", executor.mode, max(rule.top_k, rule.consecutive_rounds or 0)
        table = self.task.table
        own = self.task.name.endswith((".yaml", ".yml"))  # its problems are looked at once they are loaded
        unpriced = executor.kind in ("policy", "table")
        free = f"executor.kind={executor.kind}" if unpriced else "executor.prices=free"
        counted = next(iter(self.counting_usd), "")
        fix = "use stop.tokens" if counted == "stop.usd" else f"leave {counted} out, or name prices in executor.prices"
        for wrong, said in (
            (
                self.proposer == "guided" and self.implementer.kind != "llm",
                "proposer=guided with implementer.kind=rule: the policy only suggests, and an LLM has to write the "
                "code. Set implementer=llm and implementer.llm.model=..., or proposer=policy",
            ),
            (
                self.proposer == "guided" and code,
                f"proposer=guided with action={self.action}: a suggestion is no code; leave action out",
            ),
            (
                code and self.proposer == "random",
                "proposer=random with action=code: a random edit is no code. Set action=edit, or proposer=llm "
                "implementer=llm, or a served policy",
            ),
            (
                code and self.proposer == "policy" and self.implementer.kind == "llm",
                "implementer.kind=llm with proposer=policy and action=code: the policy writes the code itself. Set "
                "implementer=rule, or action=edit, or proposer=guided",
            ),
            (
                code and llm is not None and llm.structured == "auto",
                "implementer.llm.structured=auto with action=code: programs are read from the proposer's tags. Set "
                "implementer.llm.structured=off, or action=edit",
            ),
            (
                self.rl_weight > 0 and self.q.kind == "none",
                f"rl_weight={self.rl_weight} with q.kind=none: the search would follow a Q that does not exist. Set "
                "q.kind=surrogate or q.kind=policy, or rl_weight=0 for stock AFlow selection",
            ),
            (
                self.rl_weight > 0 and not self.lookahead.chooses,
                f"rl_weight={self.rl_weight} with lookahead.nodes=1 and lookahead.edits=1: a round has one proposal, "
                "so Q has nothing to choose. Set lookahead.edits=8, or rl_weight=0",
            ),
            (
                self.q.runs and self.q.kind != "surrogate",
                f"q.runs with q.kind={self.q.kind}: only the surrogate learns from stored runs. Set q.kind=surrogate, "
                "or leave q.runs out",
            ),
            (
                rule.consecutive_rounds and self.rounds <= quiet,
                f"convergence.consecutive_rounds={rule.consecutive_rounds} with rounds={self.rounds} and "
                f"convergence.top_k={rule.top_k}: the search ends before it can converge. Set rounds above {quiet}, or "
                "convergence.consecutive_rounds=null",
            ),
            (
                counted and (unpriced or executor.prices == "free"),
                f"{counted}={self.counting_usd.get(counted)} with {free}: no evaluation costs anything; {fix}",
            ),
            (
                self.recording and mode != "replay",
                f"recording={self.recording} with executor.mode={mode}: a recording is only read in a replay. Set "
                "executor.mode=replay, or leave recording out",
            ),
            (
                self.cache and executor.kind == "policy",
                f"cache={self.cache} with executor.kind=policy: other weights give other completions. Leave cache out",
            ),
            (
                self.cache and mode != "record",
                f"cache={self.cache} with executor.mode={mode}: completions are shared where they are recorded. Set "
                "executor.mode=record, or leave cache out",
            ),
            (
                executor.kind == "policy" and mode == "replay",
                "executor.mode=replay with executor.kind=policy: other weights give other completions, so none are "
                "kept. Set executor.mode=live",
            ),
            (
                (executor.kind == "table") != (table is not None),
                f"executor.kind={executor.kind} with task.table={table}: a table answers for whole workflows. Both are "
                "needed. Set executor=table table=NAME, or leave both out",
            ),
            (
                table and self.repeats > 1,
                f"repeats={self.repeats} with task.table={table}: it has one run a problem; set repeats=1",
            ),
            (
                executor.kind == "simulated" and self.task.name != "arithmetic" and not own,
                f"executor=simulated with task.name={self.task.name}: the simulation only knows arithmetic. Set a "
                "real executor, or task=arithmetic",
            ),
        ):
            if wrong:
                raise ValueError(said)
        return self


_SHOWN = 100  # characters of a wrong value


def parse(node: DictConfig | dict[str, Any], where: str = "aflow") -> AflowConfig:
    """Turn a composed `aflow:` node into the typed config.

    Raises ConfigError in one paragraph that names each wrong key (as the user types it), its value and the fix.
    """
    try:
        return AflowConfig.model_validate(plain(node) if isinstance(node, DictConfig) else node)
    except ValidationError as error:
        raise ConfigError(explain(error, where)) from None


def plain(node: DictConfig) -> Any:
    """Return the node with its interpolations replaced by values. Raises ConfigError where one has none."""
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=False)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(_unresolved(error)) from error


def resolve(config: DictConfig) -> None:
    """Replace the config's interpolations by values, in place.

    Raises ConfigError where one has none, and ModuleNotFoundError where a resolver lacks a library.
    """
    try:
        OmegaConf.resolve(config)
    except (OmegaConfBaseException, RecursionError) as error:
        if isinstance(error.__context__, ModuleNotFoundError):
            raise error.__context__ from error
        raise ConfigError(_unresolved(error)) from error


def _unresolved(error: Exception) -> str:
    if not isinstance(error, OmegaConfBaseException):
        return "an interpolation ${...} of the config refers to itself: give a value"
    return f"{error.full_key or 'the config'} does not resolve: {str(error).splitlines()[0]}; set it, or give a value"


def explain(error: ValidationError, where: str) -> str:
    """Return one sentence per wrong key, in the user's own spelling of it."""
    sentences = []
    for item in error.errors():
        key = ".".join([where, *map(str, item["loc"])]).strip(".")
        given = repr(item["input"])
        said = f"{key}{'=' * bool(key)}{given if len(given) <= _SHOWN else f'{given[:_SHOWN]}...'}"
        if item["type"] == "extra_forbidden":
            sentences.append(f"{said}: there is no such key; remove it or see conf/ for the keys that exist")
        elif item["type"] == "missing":
            sentences.append(f"{key} is missing: set it")
        elif item["type"] == "value_error":
            sentences.append(f"{key}: {item['ctx']['error']}" if key else str(item["ctx"]["error"]))
        elif item["type"] == "string_type" and isinstance(item["input"], int | float):
            sentences.append(f"{said}: a number, where a text belongs; quote it for Hydra: \"{key}='...'\"")
        else:
            sentences.append(f"{said}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return ". ".join(sentences) + "."


def read_yaml(file: Path, model: type[_Model], key: str) -> _Model:
    """Return a YAML file as this model. Raises ConfigError that names the file, or `key` where it cannot be read."""
    try:
        return model.model_validate(yaml.safe_load(file.read_text(encoding="utf-8-sig")))
    except ValidationError as error:
        raise ConfigError(f"{file}: {explain(error, '')}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{key}: {file} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def config_directory() -> Path:
    """Return the folder of YAML files: inside the installed package, or conf/ of the checkout.

    Raises ConfigError when neither exists.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "aflow_gigpo.yaml").is_file():
            return candidate
    raise ConfigError(f"aflow_env's YAML files are missing beside {package}: reinstall the package")
