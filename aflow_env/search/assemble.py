# SPDX-License-Identifier: Apache-2.0
"""Build the parts of a search from the config. Only this module wires rooms together.

A process opens one `Assembly`, which closes the store, sandbox and clients. Sessions get their `Search` from it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from filelock import FileLock

from aflow_env.config import AflowConfig, LLMConfig
from aflow_env.errors import ConfigError
from aflow_env.evaluation.evaluator import Evaluator, TableEvaluator, TableGate
from aflow_env.llm import build_client
from aflow_env.llm.budget import Budget
from aflow_env.llm.client import LLMClient
from aflow_env.llm.provider_limits import ProviderLimits
from aflow_env.llm.providers.policy_server import Generate
from aflow_env.sandbox.pool import Sandbox
from aflow_env.search.kinds import PREDICTORS, PROPOSERS
from aflow_env.search.prediction.predict import QPredictor
from aflow_env.search.prediction.served import ServedPolicy, serve_policy
from aflow_env.search.proposals.proposal import Proposer
from aflow_env.search.rounds import Search
from aflow_env.search.session import Listener, SearchProblem, SearchSession, session_seed
from aflow_env.store.settings import claim, lock
from aflow_env.store.shared import Parts
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_workflow
from aflow_env.tasks.benchmarks.arithmetic import read
from aflow_env.tasks.own import own_digest
from aflow_env.tasks.problem import Problem, Task, content_digest
from aflow_env.tasks.table import TableTask
from aflow_env.workflow.gate import check
from aflow_env.workflow.program import Workflow

Split = Literal["train", "validate", "test"]

SIDE_BY_SIDE = 4
"""Problems of a workflow that run at a time, for each call that may run at a time.

A problem makes its calls one after another. With as many problems as calls, the last problems would leave calls idle.
The clock of a problem that waits for a call stands still.
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
    _claim: FileLock | None = None
    _pools: dict[Split, list[Problem]] = field(default_factory=dict)

    @classmethod
    async def open(
        cls, config: AflowConfig, generate: Generate | None = None, parts: Parts | None = None
    ) -> "Assembly":
        """Load the task, open the store and start the sandbox. Raises ConfigError for a missing part.

        `generate` is the policy in training as executor. `parts` are shared with other processes; None opens the run's
        files.
        """
        task = load_task(config.task)
        parts = parts or Parts.local(config)
        store, recording, budget = parts.store, parts.recording, Budget(config.budget, parts.ledger)
        jail = config.sandbox
        sandbox = Sandbox(jail.mode, jail.limits, jail.workers, SIDE_BY_SIDE * config.executor.concurrency)
        providers: dict[tuple[str, str | None], ProviderLimits] = {}

        def client(node: LLMConfig, role: str) -> LLMClient:
            provider = node.kind, node.base_url
            limits = providers.get(provider) or providers.setdefault(provider, parts.limits(node, role))
            return build_client(
                node,
                budget=budget,
                log=recording if recording and node.mode == "replay" else store,
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
        if config.executor.structured == "auto":
            settings["structured"] = "auto"
        if digest := own_digest(config.task):
            settings["own_task"] = digest
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
        """The run's store, for reports. Raises TypeError when another process owns it."""
        if not isinstance(self.parts.store, Store):
            raise TypeError("another process owns the run's store: ask `parts.store`")
        return self.parts.store

    async def aclose(self) -> None:
        """Close all parts."""
        await self.executor.aclose()
        if self._served:
            await self._served.aclose()
        if self.implementer:
            await self.implementer.aclose()
        await self.sandbox.__aexit__(None, None, None)
        self.parts.close()
        if self._claim:
            self._claim.release()

    def pool(self, split: Split) -> Sequence[Problem]:
        """Return all problems of a split. A task without a training split trains on its validate problems."""
        if split not in self._pools:
            wanted: Split = "validate" if split == "train" and not self.config.task.train_size else split
            self._pools[split] = self.task.load(wanted, None, self.config.seed)
            check_simulated(self.config, self._pools[split])
        return self._pools[split]

    def problems(self, split: Split, seed: int | None = None) -> Sequence[Problem]:
        """Return the `limit` problems that a search scores on. A seed draws them from the training problems."""
        pool, limit = self.pool(split), self.config.limit
        if limit is None or limit >= len(pool) or split == "test":
            return pool
        if split == "train" and seed is not None:
            return [pool[index] for index in sorted(Random(seed).sample(range(len(pool)), limit))]
        return pool[:limit]

    def start(self, where: str | None = None) -> Workflow:
        """Return the start workflow of a search: by `where`, or by the config."""
        return start_workflow(where or self.config.problems.start, self.task.spec)

    def served(self) -> ServedPolicy | None:
        """Return the policy at `policy.base_url`, with the run's budget and log; None without an address."""
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
        """Return a search over the problems of a split, with the proposer and predictor of the config.

        `proposer` and `predictor` are the policy, if there is one. `config` replaces the assembly's own.
        """
        config = config or self.config
        return Search(
            config=config,
            task=self.task,
            problems=self.problems(split, seed),
            evaluator=self.evaluator,
            store=self.parts.store,
            proposer=PROPOSERS[config.proposer](config, self.implementer, proposer),
            implementer=self.implementer,
            predictor=PREDICTORS[config.q.kind](config, predictor),
            gate=TableGate(self.task.table) if isinstance(self.task, TableTask) else check,
            version=version,
        )

    def prepare(self) -> Search:
        """Return the search without a trainer, on the validate problems, with all that it and its end need.

        The run's config is locked then. Raises ConfigError for whatever is missing (problems, a start workflow, a
        model, an earlier run), when the run's folder holds a run of another config, and while another process searches
        there.
        """
        if self._search is None:
            if self.config.task.test_size and self.config.final_calls != 0:
                self.pool("test")
            self.start()
            policy = self.served()
            predictor = policy if self.config.rl_weight > 0 else None  # with w = 0 nobody would listen
            search = self.search(policy, predictor, "validate")
            self._claim = claim(Path(self.config.run_dir))
            lock(self.store, self.config)
            self._search = search
        return self._search

    async def play(self, told: Listener | None = None, interrupt: asyncio.Event | None = None) -> SearchSession:
        """Play the search's session without a trainer, or go on with it. Raises as `prepare` and `Search.play` do."""
        search, seed = self.prepare(), self.config.seed
        problem = SearchProblem(SessionKey(self.task.spec.name, seed), session_seed(seed), self.start())
        return await search.play(problem, told, interrupt)


def check_simulated(config: AflowConfig, problems: Sequence[Problem]) -> None:
    """Raise ConfigError when the simulated executor cannot read one of the problems."""
    if config.executor.kind == "simulated" and config.task.name != "arithmetic":
        unread = next((problem for problem in problems if read(problem.prompt) is None), None)
        if unread:
            raise ConfigError(
                f"executor=simulated with task.name={config.task.name}: the simulation only knows arithmetic stories "
                f"such as `aflow-env init` writes, and would answer {unread.id} wrong. Set a real executor"
            )


def landscape_digest(config: LLMConfig) -> str:
    """Return a digest of the landscape that decides a simulated executor's answers; "" for a real executor."""
    if config.kind != "simulated":
        return ""
    from aflow_env.llm.simulated.landscape import load_landscape

    return content_digest(load_landscape(config.landscape).model_dump(mode="json"))


def priced_for(config: AflowConfig, role: str) -> str:
    """Return the config key that needs the price of this role's calls; "" when none does."""
    return next(iter(config.counting_usd), "") if role == "executor" else ""
