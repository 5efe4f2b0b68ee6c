# SPDX-License-Identifier: Apache-2.0
"""The whole `aflow:` node, and the rules between its parts."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aflow_env.config.models import ImplementerConfig, LLMConfig, PolicyServerConfig
from aflow_env.config.search import (
    ConvergenceConfig,
    LookaheadConfig,
    RacingConfig,
    RewardConfig,
    SelectionConfig,
    StopConfig,
    ValueConfig,
)
from aflow_env.config.section import MANY, Count, CountOrZero, Place, Section, Seed, Share
from aflow_env.config.surroundings import BudgetConfig, ProblemsConfig, SandboxConfig, TaskConfig


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
    seed: Seed = 0
    limit: Count | None = None
    repeats: Count = 1
    infrastructure_limit: Share = 0.2
    in_flight: Count = 1
    redraws: CountOrZero = 3
    lookahead: LookaheadConfig = LookaheadConfig()
    run_dir: Place
    shared: Literal["auto", "local", "ray"] = "auto"
    recording: Place | None = None
    cache: Place | None = None
    state_characters: Annotated[int, Field(ge=200, le=MANY)] = 6000
    failed_cases: CountOrZero = 2
    experience_entries: CountOrZero = 6
    instructions: tuple[str, ...] = ()
    selection: SelectionConfig = SelectionConfig()
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
    def on_policy(self) -> "AflowConfig":
        """The config of a training session: each round draws one edit of one node.

        Q chooses nothing there, so rounds do not wait for it; the trainer asks once the session has been played.
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
        """The keys, with their values, that count USD of evaluations; they need a known price."""
        keys = {"stop.usd": self.stop.usd, "reward.cost_weight": self.reward.cost_weight or None}
        return {key: value for key, value in keys.items() if value is not None}

    @model_validator(mode="after")
    def _somebody_writes_the_code(self) -> "AflowConfig":
        if self.proposer == "guided" and self.implementer.kind != "llm":
            raise ValueError(
                "proposer=guided with implementer.kind=rule: the policy only suggests, and an LLM has to write the "
                "code. Set implementer=llm and implementer.llm.model=..., or proposer=policy"
            )
        if self.proposer == "guided" and self.action != "edit":
            raise ValueError(f"proposer=guided with action={self.action}: a suggestion is no code; leave action out")
        if self.action == "edit":
            return self
        if self.proposer == "random":
            raise ValueError(
                "proposer=random with action=code: a random edit is no code. Set action=edit, or proposer=llm "
                "implementer=llm, or a served policy"
            )
        llm = self.implementer.llm
        if self.proposer == "policy" and self.implementer.kind == "llm":
            raise ValueError(
                "implementer.kind=llm with proposer=policy and action=code: the policy writes the code itself. Set "
                "implementer=rule, or action=edit, or proposer=guided"
            )
        if llm and llm.structured == "auto":
            raise ValueError(
                "implementer.llm.structured=auto with action=code: programs are read from the proposer's tags. Set "
                "implementer.llm.structured=off, or action=edit"
            )
        return self

    @model_validator(mode="after")
    def _policy_is_there(self) -> "AflowConfig":
        if self.rl_weight > 0 and self.q.kind == "none":
            raise ValueError(
                f"rl_weight={self.rl_weight} with q.kind=none: the search would be told to follow a Q that does not "
                "exist. Set q.kind=surrogate or q.kind=policy, or rl_weight=0 for stock AFlow selection"
            )
        if self.rl_weight > 0 and not self.lookahead.chooses:
            raise ValueError(
                f"rl_weight={self.rl_weight} with lookahead.nodes=1 and lookahead.edits=1: a round has one proposal, "
                "so Q has nothing to choose. Set lookahead.edits=8, or rl_weight=0"
            )
        if self.q.runs and self.q.kind != "surrogate":
            raise ValueError(
                f"q.runs with q.kind={self.q.kind}: only the surrogate learns from stored runs. Set q.kind=surrogate, "
                "or leave q.runs out"
            )
        return self

    @model_validator(mode="after")
    def _convergence_can_come(self) -> "AflowConfig":
        rule = self.convergence
        quiet = max(rule.top_k, rule.consecutive_rounds or 0)
        if rule.consecutive_rounds and self.rounds <= quiet:
            raise ValueError(
                f"convergence.consecutive_rounds={rule.consecutive_rounds} with rounds={self.rounds} and "
                f"convergence.top_k={rule.top_k}: the search ends before it can converge. Set rounds above {quiet}, or "
                "convergence.consecutive_rounds=null"
            )
        return self

    @model_validator(mode="after")
    def _evaluations_cost_something(self) -> "AflowConfig":
        executor = self.executor
        free = "executor.kind=policy" if executor.kind == "policy" else "executor.prices=free"
        if executor.kind == "policy" or executor.prices == "free":
            for key, value in self.counting_usd.items():
                fix = "use stop.tokens" if key == "stop.usd" else f"leave {key} out, or name prices in executor.prices"
                raise ValueError(f"{key}={value} with {free}: no evaluation costs anything; {fix}")
        return self

    @model_validator(mode="after")
    def _completions_are_kept(self) -> "AflowConfig":
        kind, mode = self.executor.kind, self.executor.mode
        if self.recording and mode != "replay":
            raise ValueError(
                f"recording={self.recording} with executor.mode={mode}: a recording is only read in a replay. Set "
                "executor.mode=replay, or leave recording out"
            )
        if self.cache and kind == "policy":
            raise ValueError(
                f"cache={self.cache} with executor.kind=policy: other weights give other completions. Leave cache out"
            )
        if self.cache and mode != "record":
            raise ValueError(
                f"cache={self.cache} with executor.mode={mode}: completions are shared where they are recorded. Set "
                "executor.mode=record, or leave cache out"
            )
        if kind == "policy" and mode == "replay":
            raise ValueError(
                "executor.mode=replay with executor.kind=policy: other weights give other completions, so none are "
                "kept. Set executor.mode=live"
            )
        return self

    @model_validator(mode="after")
    def _simulation_knows_the_task(self) -> "AflowConfig":
        own = self.task.name.endswith((".yaml", ".yml"))  # its problems are looked at once they are loaded
        if self.executor.kind == "simulated" and self.task.name != "arithmetic" and not own:
            raise ValueError(
                f"executor=simulated with task.name={self.task.name}: the simulation only knows arithmetic. Set a "
                "real executor, or task=arithmetic"
            )
        return self
