# SPDX-License-Identifier: Apache-2.0
"""From the config to the parts of a search: the one place where rooms are wired together.

An `Assembly` is opened once for a process and owns what has to be closed: the store, the sandbox, the clients.
Sessions get their `Search` from it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from aflow_env.config import AflowConfig, LLMConfig
from aflow_env.errors import ConfigError
from aflow_env.evaluation.evaluator import Evaluator
from aflow_env.evaluation.lookup import TableEvaluator, TableGate
from aflow_env.llm import build_client
from aflow_env.llm.budget import Budget
from aflow_env.llm.client import LLMClient
from aflow_env.llm.provider_limits import ProviderLimits
from aflow_env.llm.providers.policy_server import Generate
from aflow_env.sandbox.pool import Sandbox
from aflow_env.search.kinds import PREDICTORS, PROPOSERS, Known
from aflow_env.search.prediction.predict import QPredictor
from aflow_env.search.prediction.served import ServedPolicy, serve_policy
from aflow_env.search.proposals.implementers import implement
from aflow_env.search.proposals.proposal import Proposer
from aflow_env.search.rounds import Search
from aflow_env.search.session import Listener, SearchProblem, SearchSession, session_seed
from aflow_env.store.settings import lock
from aflow_env.store.shared import Parts
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks import load_task
from aflow_env.tasks.benchmarks.arithmetic import read
from aflow_env.tasks.own import own_digest
from aflow_env.tasks.problem import Problem, Task, content_digest
from aflow_env.tasks.start import start_workflow
from aflow_env.tasks.table import TableTask
from aflow_env.workflow.gate import check
from aflow_env.workflow.program import Workflow

Split = Literal["train", "validate", "test"]

SIDE_BY_SIDE = 4
"""Problems of a workflow that go on side by side, for each call that may: while one waits, its clock stands still.

A problem asks one thing after another, so with as many problems as places the last of them would leave places idle.
"""


@dataclass
class Assembly:
    """The shared parts of all sessions of a process."""

    config: AflowConfig
    task: Task
    parts: Parts
    sandbox: Sandbox
    executor: LLMClient
    evaluator: Evaluator
    implementer: LLMClient | None
    budget: Budget
    _served: ServedPolicy | None = None
    _search: Search | None = None
    _pools: dict[Split, list[Problem]] = field(default_factory=dict)

    @classmethod
    async def open(
        cls, config: AflowConfig, generate: Generate | None = None, parts: Parts | None = None
    ) -> "Assembly":
        """Load the task, open the store and start the sandbox. Raises ConfigError for whatever is missing.

        `generate` is the trained policy as executor; without it executor.kind=policy is an error. `parts`: what this
        process shares with others; None: the run's files, opened here.
        """
        task = load_task(config.task)
        parts = parts or Parts.local(config)
        store, recording, budget = parts.store, parts.recording, Budget(config.budget, parts.ledger)
        jail, side_by_side = config.sandbox, SIDE_BY_SIDE * config.executor.concurrency
        sandbox = Sandbox(jail.mode, jail.limits, jail.workers, side_by_side)
        providers: dict[tuple[str, str | None], ProviderLimits] = {}

        def client(node: LLMConfig, role: str) -> LLMClient:
            provider = node.kind, node.base_url
            limits = providers.get(provider) or providers.setdefault(provider, parts.limits(node, role))
            log = recording if recording and node.mode == "replay" else store
            return build_client(
                node,
                budget=budget,
                log=log,
                cache=parts.cache,
                seed=config.seed,
                generate=generate,
                limits=limits,
                batches=Path(config.run_dir) / "batches.sqlite",
                role=role,
                priced_for=priced_for(config, role),
            )

        executor = client(config.executor, "executor")
        implementer = client(config.implementer.llm, "implementer.llm") if config.implementer.llm else None
        settings = {"options": config.task.options, "landscape": landscape_digest(config.executor)}
        if config.executor.structured != "off":
            settings["structured"] = config.executor.structured
        if own := own_digest(config.task):
            settings["own_task"] = own
        if isinstance(task, TableTask):
            settings["table"] = task.table.digest
        evaluator = (TableEvaluator if isinstance(task, TableTask) else Evaluator)(
            task,
            executor,
            config.executor,
            sandbox,
            store,
            seed=config.seed,
            settings=settings,
            infrastructure_limit=config.infrastructure_limit,
            turns=parts.turn,
        )
        await sandbox.__aenter__()
        return cls(config, task, parts, sandbox, executor, evaluator, implementer, budget)

    @property
    def store(self) -> Store:
        """The run's file, for reports. Raises TypeError in a process that asks another for it."""
        if not isinstance(self.parts.store, Store):
            raise TypeError("another process owns the run's store: ask `parts.store`")
        return self.parts.store

    async def aclose(self) -> None:
        """Close everything that was opened."""
        await self.executor.aclose()
        if self._served:
            await self._served.aclose()
        if self.implementer:
            await self.implementer.aclose()
        await self.sandbox.__aexit__(None, None, None)
        self.parts.close()

    def pool(self, split: Split) -> Sequence[Problem]:
        """All problems of a split; a task without a training split trains on its validate problems."""
        if split not in self._pools:
            wanted: Split = "validate" if split == "train" and not self.config.task.train_size else split
            self._pools[split] = self.task.load(wanted, None, self.config.seed)
            check_simulated(self.config, self._pools[split])
        return self._pools[split]

    def problems(self, split: Split, seed: int | None = None) -> Sequence[Problem]:
        """The `limit` problems that a search scores on; a training search problem's seed picks its own."""
        pool, limit = self.pool(split), self.config.limit
        if limit is None or limit >= len(pool) or split == "test":
            return pool
        if split == "train" and seed is not None:
            chosen = sorted(Random(seed).sample(range(len(pool)), limit))
            return [pool[index] for index in chosen]
        return pool[:limit]

    def start(self, where: str | None = None) -> Workflow:
        """The workflow that a search starts from: the config's, or the one that a search problem names."""
        return start_workflow(where or self.config.problems.start, self.task.spec)

    def served(self) -> ServedPolicy | None:
        """The policy behind `policy.base_url`, asked through the run's budget and log; None where none is named."""
        if self.config.policy.base_url and self._served is None:
            self._served = serve_policy(self.config, self.budget, self.parts.recording or self.parts.store)
        return self._served

    def search(
        self,
        proposer: Proposer | None,
        predictor: QPredictor | None,
        split: Split,
        seed: int | None = None,
        version: str = "",
        config: AflowConfig | None = None,
    ) -> Search:
        """A search over the problems of a split; the proposer and the predictor are those that the config names.

        `proposer` and `predictor` are the policy, where there is one. `config`: another than the assembly's own.
        """
        config = config or self.config
        known = Known(config, self.implementer, proposer, predictor)
        return Search(
            config=config,
            task=self.task,
            problems=self.problems(split, seed),
            evaluator=self.evaluator,
            store=self.parts.store,
            proposer=PROPOSERS[config.proposer](known),
            implement=implement(config, self.implementer),
            predictor=PREDICTORS[config.q.kind](known),
            gate=TableGate(self.task.table) if isinstance(self.task, TableTask) else check,
            version=version,
        )

    def prepare(self) -> Search:
        """Return the search without a trainer, on the validate problems, with all that it and its end need.

        Raises ConfigError for whatever is missing: problems, a start workflow, a model, an earlier run.
        """
        if self._search is None:
            if self.config.task.test_size and self.config.final_calls != 0:
                self.pool("test")
            self.start()
            policy = self.served()
            predictor = policy if self.config.rl_weight > 0 else None  # with w = 0 nobody would listen
            self._search = self.search(policy, predictor, "validate")
        return self._search

    async def play(self, told: Listener | None = None, interrupt: asyncio.Event | None = None) -> SearchSession:
        """Play the session of a search without a trainer, on the validate problems, or go on with it.

        Raises ConfigError when the run's folder holds a run of another config, and as `Search.play` does.
        """
        config, search = self.config, self.prepare()
        lock(self.store, config)
        key = SessionKey(self.task.spec.name, config.seed)
        problem = SearchProblem(key=key, seed=session_seed(config.seed), start=self.start())
        return await search.play(problem, told, interrupt)


def check_simulated(config: AflowConfig, problems: Sequence[Problem]) -> None:
    """Raise ConfigError where the simulated executor is to solve a problem that it cannot read."""
    if config.executor.kind == "simulated" and config.task.name != "arithmetic":
        unread = next((problem for problem in problems if read(problem.prompt) is None), None)
        if unread:
            raise ConfigError(
                f"executor=simulated with task.name={config.task.name}: the simulation only knows arithmetic stories "
                f"such as `aflow-env init` writes, and would answer {unread.id} wrong. Set a real executor"
            )


def landscape_digest(config: LLMConfig) -> str:
    """What a simulated executor's answers depend on, as a hash; "" for a real one."""
    if config.kind != "simulated":
        return ""
    from aflow_env.llm.simulated.landscape import load_landscape

    return content_digest(load_landscape(config.landscape).model_dump(mode="json"))


def priced_for(config: AflowConfig, role: str) -> str:
    """The key that counts what this role's calls cost, if there is one: evaluations are the executor's."""
    return next(iter(config.counting_usd), "") if role == "executor" else ""
