# SPDX-License-Identifier: Apache-2.0
"""The whole `aflow:` node, and the rules between its parts."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aflow_env.config.models import ImplementerConfig, LLMConfig, PolicyServerConfig
from aflow_env.config.search import (
    BudgetConfig,
    ConvergenceConfig,
    LookaheadConfig,
    ProblemsConfig,
    RacingConfig,
    RewardConfig,
    SandboxConfig,
    SelectionConfig,
    StopConfig,
    TaskConfig,
    ValueConfig,
)
from aflow_env.config.section import MANY, Count, CountOrZero, Place, Section, Seed, Share


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
        """The config of a training session: each round draws one edit of one node, unless `lookahead.training`.

        Q chooses nothing there, so rounds do not wait for it. The trainer asks once the session has been played.
        """
        if self.lookahead.training:
            return self
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
