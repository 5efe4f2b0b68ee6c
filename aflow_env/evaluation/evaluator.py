# SPDX-License-Identifier: Apache-2.0
"""Evaluate a workflow on problems: look up stored results, run the rest in the sandbox, score and store them.

The workflow runs in a jailed child. Its operator calls come to this process, which has the executor's client
(attempt.py). A failure of the world ends a problem without a score. Too many of them end the evaluation. A table
(tasks/table.py) has the outcomes of whole workflows, so nothing runs.

Evaluations of one workflow take turns in this process, and among all processes that share `turns`, so the second finds
all results stored. Without shared `turns` two processes may both run and pay. Both use the result stored first.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, asdict, dataclass, field
from typing import Protocol
from weakref import WeakValueDictionary

from aflow_env.config import LLMConfig
from aflow_env.errors import BudgetExhausted, ConfigError, InfrastructureError, WorkflowError
from aflow_env.evaluation.attempt import UNANSWERED, Attempt
from aflow_env.evaluation.results import Evaluation, Outcome, ProblemResult, lost, summarise
from aflow_env.llm.client import LLMClient, LLMError
from aflow_env.sandbox.jail.wire import JSON
from aflow_env.sandbox.pool import Sandbox
from aflow_env.sandbox.worker import JailRun
from aflow_env.screen import plural
from aflow_env.soon import Soon, soon
from aflow_env.tasks.problem import Problem, Task
from aflow_env.tasks.table import OUTCOMES, Table, TableTask
from aflow_env.workflow.gate import check
from aflow_env.workflow.operators import CodeResult
from aflow_env.workflow.program import TaskSpec, Workflow

Key = tuple[str, int]
Lock = AbstractAsyncContextManager[None]

log = logging.getLogger(__name__)

CUT_SHARE = 0.05  # of replies may be cut at max_tokens without a warning
ANSWER_CHARACTERS = 2000  # of an answer are stored; the scorer reads all of it
FEEDBACK_CHARACTERS = 1000  # of a scorer's text are stored


class EvaluationCache(Protocol):
    """Stored results by workflow digest, executor key and (problem digest, repeat), such as `Store`.

    `get_many` returns results marked as cached. `put_many` saves the results that count and are not saved yet.
    """

    def get_many(self, digest: str, executor_key: str, keys: Iterable[Key]) -> Soon[dict[Key, ProblemResult]]: ...
    def put_many(self, digest: str, executor_key: str, results: Sequence[ProblemResult]) -> Soon[None]: ...


@dataclass(eq=False)
class Evaluator:
    """Evaluates workflows of one task with one executor. Any number of evaluations may run at a time.

    `settings` is anything else that decides a result, as JSON, e.g. the task's options. `infrastructure_limit`, in
    [0, 1], is the largest share of an evaluation's runs that may be lost to failures of the world. `turns` makes a lock
    by its name.
    """

    task: Task
    client: LLMClient
    config: LLMConfig
    sandbox: Sandbox
    cache: EvaluationCache | None = None
    _: KW_ONLY
    seed: int = 0
    settings: JSON = None
    infrastructure_limit: float = 0.2
    turns: Callable[[str], Lock] = lambda _: asyncio.Lock()
    _locks: WeakValueDictionary[str, Lock] = field(default_factory=WeakValueDictionary, init=False, repr=False)

    def executor_key(self, version: str = "") -> str:
        """Return 16 hex digits over everything that decides a result beside workflow, problem and repeat."""
        config = self.config
        temperatures = config.temperature, config.sample_temperature
        parts = {
            "executor": [config.decisive, *temperatures, config.max_tokens, config.landscape],
            "seed": self.seed,
            "task": self.task.spec.name,
            "limits": asdict(self.sandbox.limits),
            "settings": self.settings,
            "version": version,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    async def evaluate(
        self, workflow: Workflow, problems: Sequence[Problem], repeats: int = 1, version: str = ""
    ) -> Evaluation:
        """Run the workflow `repeats` times on each problem, or take stored results, in that order.

        `version` names the executor's weights if they change (a policy in training). Every run is stored before this
        returns or raises. Raises InfrastructureError when no run counts, when more than the allowed share was lost to
        the world, or when the executor refuses every call (no key, no money left), BudgetExhausted when the budget ends
        some runs.
        """
        if not problems or repeats < 1:
            raise ValueError(f"an evaluation needs problems and repeats, not {len(problems)} and {repeats}")
        runs = [(problem, repeat) for repeat in range(repeats) for problem in problems]
        return self.summary(workflow, await self.run(workflow, runs, version), version)

    async def run(
        self, workflow: Workflow, runs: Sequence[tuple[Problem, int]], version: str = ""
    ) -> tuple[ProblemResult, ...]:
        """Return one result for each (problem, repeat), in order, stored or run now.

        Raises InfrastructureError when the executor refuses every call.
        """
        executor_key = self.executor_key(version)
        attempts = [Attempt(problem, repeat) for problem, repeat in runs]
        name = f"{workflow.digest} {executor_key}"
        lock = self._locks.get(name) or self._locks.setdefault(name, self.turns(name))
        async with lock:
            results = await self._results(workflow, executor_key, attempts)
        if any(attempt.fatal for attempt in attempts):
            raise self._lost(results)
        return results

    def summary(self, workflow: Workflow, results: Sequence[ProblemResult], version: str = "") -> Evaluation:
        """Return the evaluation of these results. Raises as `evaluate` does."""
        self.judge(results)
        evaluation = summarise(workflow.digest, self.executor_key(version), results)
        if evaluation.truncated > CUT_SHARE * evaluation.calls:
            log.warning(
                "%d of %d replies were cut at max_tokens=%d, which is rarely a right answer: raise executor.max_tokens",
                evaluation.truncated, evaluation.calls, self.config.max_tokens,
            )  # fmt: skip
        if silent := [result.error for result in results if UNANSWERED in result.error]:
            log.warning("%d of %d runs count as wrong: %s (docs/faq.md)", len(silent), len(results), silent[0])
        return evaluation

    async def _results(
        self, workflow: Workflow, executor_key: str, attempts: Sequence[Attempt]
    ) -> tuple[ProblemResult, ...]:
        """Return one result an attempt, in order, from the cache, or from a run that is then stored."""
        keys = [attempt.key for attempt in attempts]
        known = await soon(self.cache.get_many(workflow.digest, executor_key, keys)) if self.cache else {}
        missing = [attempt for attempt in attempts if attempt.key not in known]
        if missing:
            fresh = await self._run(workflow, missing)
            if self.cache:
                await soon(self.cache.put_many(workflow.digest, executor_key, fresh))
                stored = await soon(self.cache.get_many(workflow.digest, executor_key, keys))
                # Another process may have stored its result first. This one has paid too, so it is not cached.
                fresh = [stored.get(result.key, result)._replace(cached=False) for result in fresh]
            known |= {result.key: result for result in fresh}
        return tuple(known[attempt.key]._replace(problem_id=attempt.problem.id) for attempt in attempts)

    async def _run(self, workflow: Workflow, attempts: Sequence[Attempt]) -> list[ProblemResult]:
        runs = await self.launch(workflow, attempts)
        return list(await asyncio.gather(*map(self._score, attempts, runs)))

    async def launch(
        self, workflow: Workflow, attempts: Sequence[Attempt], client: LLMClient | None = None
    ) -> list[JailRun | BaseException]:
        """Run the workflow once for each attempt, without look-up, score and storage.

        `client` answers instead of the executor's. Returns as `Sandbox.run_workflow` does.
        """
        asked, answers = client or self.client, self.task.spec.answers

        async def handle(index: int, operator: str, arguments: dict[str, JSON]) -> dict[str, JSON]:
            paid: list[float] = []
            context = attempts[index].context(asked, self.config, self._run_code, answers, paid)
            result = await attempts[index].call(operator, arguments, context)
            return {"result": result, "cost_usd": sum(paid)}

        calls: list[dict[str, JSON]] = [{"problem": each.problem.prompt} for each in attempts]
        if self.task.spec.entry_point:
            for call, each in zip(calls, attempts, strict=True):
                call["entry_point"] = each.problem.entry_point
        return await self.sandbox.run_workflow(workflow, calls, handle)

    async def _run_code(self, code: str, function: str, arguments: list[JSON], seconds: float) -> CodeResult:
        run = await self.sandbox.run_code(code, function, arguments, seconds)
        return CodeResult(run.outcome, run.value, run.error)

    async def _score(self, attempt: Attempt, run: JailRun | BaseException) -> ProblemResult:
        """Return the result of one call of the workflow. Raises for a bug of ours and a cancellation."""
        try:
            if isinstance(run, BaseException):
                raise run
            if run.outcome != "ok":
                return attempt.result(Outcome(run.outcome), run.seconds, error=run.error)
            output = str(run.value)
            score = await self.task.score(attempt.problem, output, self.sandbox.run_tests)
        except WorkflowError as error:
            return attempt.result(Outcome.CRASH, error=str(error))
        except BudgetExhausted as error:
            return attempt.result(Outcome.BUDGET, error=str(error))
        except InfrastructureError as error:
            attempt.fatal = isinstance(error, LLMError) and error.fatal
            return attempt.result(Outcome.LLM_ERROR, error=str(error))
        outcome = Outcome.CORRECT if score.correct else Outcome.WRONG
        texts = {"answer": _cut(output), "error": score.note, "feedback": _cut(score.feedback, FEEDBACK_CHARACTERS)}
        return attempt.result(outcome, run.seconds, score=score.value, **texts)

    def judge(self, results: Sequence[ProblemResult]) -> None:
        """Raise as `evaluate` does for too many lost results, and for results that the budget ended."""
        if sum(result.outcome == Outcome.LLM_ERROR for result in results) / len(results) > self.infrastructure_limit:
            raise self._lost(results)
        if cut_off := [result for result in results if result.outcome == Outcome.BUDGET]:
            raise BudgetExhausted(f"{len(cut_off)} of {plural(len(results), 'run')} did not fit: {lost(cut_off)}")

    def _lost(self, results: Sequence[ProblemResult]) -> InfrastructureError:
        failed = [result for result in results if result.outcome == Outcome.LLM_ERROR]
        return InfrastructureError(
            f"{len(failed)} of {plural(len(results), 'run')} lost to failures of the executor or the machine (at most "
            f"{self.infrastructure_limit:.0%} may be): {lost(failed)}. What did run is stored; run again to go on"
        )


def _cut(text: str, characters: int = ANSWER_CHARACTERS) -> str:
    half = characters // 2
    return text if len(text) <= characters else f"{text[:half]} [...] {text[-half:]}"


class OutsideTable(WorkflowError):
    """The table has no outcomes of this valid program. The text is one sentence for the policy."""


@dataclass(frozen=True)
class TableGate:
    """The gate of a search on a table. A program must pass the gate and be in the table."""

    table: Table

    def __call__(self, workflow: Workflow, spec: TaskSpec) -> None:
        """Raise Violation or OutsideTable unless the program is in the table."""
        if workflow.digest not in self.table.rows:
            check(workflow, spec)
            raise OutsideTable("outside the table: it has no outcomes of this workflow")


@dataclass(eq=False)
class TableEvaluator(Evaluator):
    """An Evaluator that runs nothing. Its task is a TableTask."""

    async def _run(self, workflow: Workflow, attempts: Sequence[Attempt]) -> list[ProblemResult]:
        assert isinstance(self.task, TableTask)
        table, results = self.task.table, []
        if workflow.digest not in table.rows:
            raise ConfigError(f"task.table: {table.path} has no outcomes of workflow {workflow.digest}")
        row, places = table.rows[workflow.digest], {name: place for place, name in enumerate(table.header.problems)}
        for attempt in attempts:
            place = places[attempt.problem.id]
            outcome = Outcome(OUTCOMES[row.outcomes[place]])
            attempt.input_tokens, attempt.output_tokens = row.tokens[place]
            attempt.calls = row.calls[place]
            results.append(attempt.result(outcome, score=float(outcome == Outcome.CORRECT)))
        return results
