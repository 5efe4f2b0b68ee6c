# SPDX-License-Identifier: Apache-2.0
"""Answer problems with a workflow. Nothing is scored and no stored result is used.

Each problem has a jailed child of its own, so it can neither read nor end another one. A workflow that fails gives an
answer without text. A failure of the world or a spent budget is raised.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from aflow_env.config import AflowConfig, BudgetConfig
from aflow_env.errors import ConfigError, WorkflowError
from aflow_env.evaluation.attempt import Attempt
from aflow_env.llm.budget import Budget, BudgetClient
from aflow_env.llm.prices import FREE, Price, find_price
from aflow_env.sandbox.worker import JailRun, Outcome
from aflow_env.search.assemble import Assembly
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.gate import check
from aflow_env.workflow.program import Workflow


@dataclass(frozen=True)
class WorkflowAnswer:
    """The answer of a workflow to one problem.

    Unless `outcome` is `ok`, `text` is "" and `error` is why. `cost_usd` is None where no price is known.
    """

    text: str
    outcome: Outcome
    error: str
    cost_usd: float | None
    input_tokens: int
    output_tokens: int
    calls: int
    seconds: float


@dataclass(frozen=True)
class Answering:
    """A workflow with its executor and sandbox open, made by `answering`."""

    workflow: Workflow
    assembly: Assembly

    async def __call__(self, problem: Problem, sample: int = 0, ceiling: BudgetConfig | None = None) -> WorkflowAnswer:
        """Run the workflow on a problem. `sample` names an independent draw. `ceiling` bounds this problem alone.

        Raises ConfigError for a code task's problem without entry point, InfrastructureError when the world failed,
        BudgetExhausted when a ceiling stopped it.
        """
        if self.assembly.task.spec.entry_point and not problem.entry_point:
            raise ConfigError(f"a workflow of {self.assembly.task.spec.name} writes a function: name it in entry_point")
        attempt, client, clock = Attempt(problem, sample), self.assembly.executor, asyncio.get_running_loop().time
        began = clock()
        if ceiling:
            client = BudgetClient(client, Budget(ceiling), self.price(), self.assembly.config.executor.timeout_seconds)
        (run,) = await self.assembly.evaluator.launch(self.workflow, [attempt], client)
        if isinstance(run, WorkflowError):
            run = JailRun("crash", error=str(run))
        if isinstance(run, BaseException):
            raise run
        text, cost = str(run.value) if run.outcome == "ok" else "", None if attempt.unpriced else attempt.cost_usd
        counts = attempt.input_tokens, attempt.output_tokens, attempt.calls
        return WorkflowAnswer(text, run.outcome, run.error, cost, *counts, clock() - began)

    def price(self, needed: bool = False) -> Price | None:
        """Return the executor's price, None where it is unknown. Raises ConfigError where it is needed and unknown."""
        config = self.assembly.config.executor
        return find_price(config, needed) if config.kind in ("openai", "anthropic") else FREE


def usd(cost: float | None) -> str:
    """Return a cost as it is printed."""
    return "cost unknown" if cost is None else f"{cost:.4f} USD"


@asynccontextmanager
async def answering(config: AflowConfig, workflow: Workflow, temporary: bool = False) -> AsyncIterator[Answering]:
    """Open the executor and the sandbox of a workflow. `config.run_dir` has its completions and its account.

    `temporary` puts them in a folder that is deleted at the end. Raises ConfigError for a workflow that the gate
    rejects, and as `Assembly.open` does.
    """
    with TemporaryDirectory(prefix="aflow-env-") if temporary else nullcontext(config.run_dir) as folder:
        mode = "live" if temporary and config.executor.mode == "record" else config.executor.mode
        executor = config.executor.model_copy(update={"mode": mode})
        assembly = await Assembly.open(config.model_copy(update={"run_dir": folder, "executor": executor}))
        try:
            check(workflow, assembly.task.spec)
            assembly.store.open()
            yield Answering(workflow, assembly)
        except WorkflowError as error:
            raise ConfigError(f"workflow {workflow.digest} would not be run on {config.task.name}: {error}") from error
        finally:
            await assembly.aclose()
