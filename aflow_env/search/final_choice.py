# SPDX-License-Identifier: Apache-2.0
"""The choice at the end of a search: successive halving of the leaders on fresh validate problems.

    stage 0     the problems that the search scored on
    stage k     as many fresh validate problems as all stages before had
    between     the better half goes on, by the mean score on all problems so far; after stage 0 all who can be paid
    the end     one is ahead, or the last leader has seen fresh problems, or problems or calls are spent

The start workflow runs beside the leaders in every stage and may be the choice. The leading workflow is ahead when it
wins a sign test on the fresh problems against each other one. A stage may cost half of the calls that are left to the
choice, and all of them with a single leader.

Results of the search are free here. Any other result costs its executor calls, whether it is run now or stored. So a
repeated or resumed report and a replay make the same choice, and ask nothing twice.
"""

import math
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import accumulate

from aflow_env.config import BudgetConfig
from aflow_env.evaluation.evaluator import Evaluator, Key
from aflow_env.evaluation.results import COUNTED, Evaluation, Outcome, ProblemResult, summarise
from aflow_env.llm.budget import Budget, BudgetClient
from aflow_env.soon import together
from aflow_env.store.findings import searched
from aflow_env.store.store import Store
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.program import Workflow

ALPHA = 0.05
"""The largest p-value, one-sided, of a won sign test."""
UNLIMITED = 10**15
"""More calls than any report makes."""


def held(evaluator: Evaluator, calls: int, seconds: float) -> Evaluator:
    """Return the evaluator, held to so many executor calls (`final_calls`), whatever its workflows ask for."""
    found = copy(evaluator)
    budget = Budget(BudgetConfig(calls=calls), calls_key="final_calls")
    found.client = BudgetClient(evaluator.client, budget, None, seconds)
    return found


@dataclass
class ClosingRuns:
    """The runs of a closing report, and the executor calls that it may still make.

    `unknown` is how many calls a run of a workflow may make that was never run. `spent` is the error of a ceiling that
    cut runs off; it begins with the key.
    """

    evaluator: Evaluator
    store: Store
    version: str
    repeats: int
    left: int
    unknown: int
    cost_weight: float = 0.0
    spent: str = ""
    _results: dict[str, dict[Key, ProblemResult]] = field(default_factory=dict)
    _of_search: dict[str, dict[Key, ProblemResult]] = field(default_factory=dict)

    async def advance(self, workflows: Sequence[Workflow], problems: Sequence[Problem], allowed: int) -> int:
        """Run the workflows on the first problems that cost at most `allowed` calls, and return their number."""
        done, floor = 0, self.left - min(allowed, self.left)
        while done < len(problems):
            costs = accumulate(self._costs(workflows, problems[done:]))
            fitting = sum(cost <= max(0, self.left - floor) for cost in costs)
            await together(self._run(each, problems[done : done + fitting]) for each in workflows if fitting)
            if not fitting or self.spent:
                break
            done += fitting
        return done

    def evaluation(self, workflow: Workflow, problems: Sequence[Problem]) -> Evaluation:
        """Return the evaluation of a workflow on problems that it has run on."""
        found = self._results[workflow.digest]
        return self.evaluator.summary(workflow, [found[key] for key in self._keys(problems)], self.version)

    def worth(self, workflow: Workflow, problems: Sequence[Problem]) -> float:
        """Return the mean score less the weighted cost, which the choice compares. NaN when no run counts."""
        found = [self._results[workflow.digest][key] for key in self._keys(problems)]
        counts = any(each.outcome in COUNTED for each in found)
        return summarise(workflow.digest, "", found).worth(self.cost_weight) if counts else math.nan

    def worst(self, workflow: Workflow) -> int:
        """Return the most calls that a run of the workflow has made, at least 1."""
        known = [*self._searched(workflow).values(), *self._results.get(workflow.digest, {}).values()]
        return max([1, *(each.calls for each in known)]) if known else self.unknown

    async def _run(self, workflow: Workflow, problems: Sequence[Problem]) -> None:
        runs = [(problem, repeat) for repeat in range(self.repeats) for problem in problems]
        results = await self.evaluator.run(workflow, runs, self.version)
        found = self._results.setdefault(workflow.digest, {})
        if cut := next((each.error for each in results if each.outcome == Outcome.BUDGET), ""):
            self.spent, self.left = self.spent or cut, 0
        if self.spent:
            return
        for key, result in zip(self._keys(problems), results, strict=True):
            self.left -= 0 if key in self._searched(workflow) else result.calls
            found[key] = result
        self.evaluator.judge(list(found.values()))

    def _costs(self, workflows: Sequence[Workflow], problems: Sequence[Problem]) -> list[int]:
        """Return for each problem the largest expected number of calls of the workflows' runs."""
        worst = [(self.worst(each), self._searched(each)) for each in workflows]
        return [
            sum(calls * (key not in searched) for key in self._keys([problem]) for calls, searched in worst)
            for problem in problems
        ]

    def _searched(self, workflow: Workflow) -> dict[Key, ProblemResult]:
        """Return the workflow's results in nodes of the search."""
        if workflow.digest not in self._of_search:
            executor_key = self.evaluator.executor_key(self.version)
            keys = searched(self.store, workflow.digest, executor_key)
            self._of_search[workflow.digest] = self.store.get_many(workflow.digest, executor_key, keys)
        return self._of_search[workflow.digest]

    def _keys(self, problems: Iterable[Problem]) -> list[Key]:
        return [(problem.digest, repeat) for repeat in range(self.repeats) for problem in problems]


async def choose(
    runs: ClosingRuns,
    start: Workflow,
    leaders: Sequence[Workflow],
    problems: Sequence[Problem],
    known: int,
    reserve: int = 0,
) -> tuple[Workflow, int]:
    """Return the best of the start and the leaders, and the number of problems that it and the start have run on.

    The search scored on the first `known` problems. `reserve` calls are left for the test. The number is 0 when not
    even the start could be run.
    """
    ranked, seen, block = [start, *leaders], 0, known
    while seen < len(problems):
        alive = [each for each in ranked if each is not start]
        free = max(0, runs.left - reserve)
        fitted = await runs.advance([start, *alive], problems[seen : seen + block], free // (2 if alive[1:] else 1))
        seen += fitted
        if fitted:
            block = seen
            # sorted() is stable: the start, then the earlier leader, comes first among equals.
            ranked = sorted([start, *alive], key=lambda each: runs.worth(each, problems[:seen]), reverse=True)
            if _ahead(runs, ranked, problems[known:seen]) or (seen > known and len(alive) == 1):
                break
        elif not alive or (seen and len(alive) == 1):
            break
        if seen < len(problems) and (seen > known or not fitted):
            leading = [each for each in ranked if each is not start]
            going = leading[: -(-len(leading) // 2)] if leading[1:] or seen else []
            ranked = [each for each in ranked if each is start or each in going]
    return ranked[0], seen


def _ahead(runs: ClosingRuns, ranked: Sequence[Workflow], fresh: Sequence[Problem]) -> bool:
    """Return whether the first wins against each other one on the fresh problems."""
    first, *others = ([runs.worth(each, [problem]) for problem in fresh] for each in ranked)
    return all(_wins(first, other) for other in others)


def _wins(one: Sequence[float], other: Sequence[float]) -> bool:
    won = sum(a > b for a, b in zip(one, other, strict=True))
    lost = sum(a < b for a, b in zip(one, other, strict=True))
    if won == 0:
        return False
    from scipy.special import bdtrc  # takes half a second to import, and only the end of a search needs it

    return bool(bdtrc(won - 1, won + lost, 0.5) <= ALPHA)
