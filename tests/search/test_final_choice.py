# SPDX-License-Identifier: Apache-2.0
"""The choice at the end: bounded, right on a planted landscape, and the same after a kill."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from aflow_env.errors import BudgetExhausted
from aflow_env.evaluation.attempt import Attempt
from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.llm.client import Completion, Message, Request
from aflow_env.search.final_choice import UNLIMITED, ClosingRuns, choose, held
from aflow_env.search.final_report import at_most, most_runs
from aflow_env.store.node_rows import Node
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.program import Workflow
from tests.search.quick import START, Quick, config

PROBLEMS = [Problem(id=f"q{i}", prompt=f"ask {i}", answer=f"say {i}") for i in range(160)]
KNOWN = 8
LEADERS = [Workflow(f"graph {i}", "") for i in range(6)]


class Planted(Quick):
    """A workflow solves its share of the problems, drawn by seed; `cut` ends the process after so many runs."""

    def __init__(self, rates: dict[str, float], seed: int = 0, calls: int = 3, cut: int = UNLIMITED) -> None:
        super().__init__()
        self.rates, self.draws, self.calls, self.cut = rates, seed, calls, cut

    def score_of(self, workflow: Workflow, attempt: Attempt) -> float:
        place = PROBLEMS.index(attempt.problem)
        if place < KNOWN and workflow != START:
            return 1.0  # what led in the search had luck there
        drawn = np.random.default_rng([self.draws, int(workflow.digest, 16), place]).random()
        return float(drawn < self.rates[workflow.digest])

    async def _run(self, workflow: Workflow, attempts: Sequence[Attempt]) -> list[ProblemResult]:
        if self.runs + len(attempts) > self.cut:
            some = await super()._run(workflow, attempts[: self.cut - self.runs])
            assert self.cache is not None
            self.cache.put_many(workflow.digest, self.executor_key(), some)
            raise asyncio.CancelledError
        return await super()._run(workflow, attempts)

    def _result(self, attempt: Attempt, score: float) -> ProblemResult:
        return super()._result(attempt, score)._replace(calls=self.calls)


def rates(best: int = 3, others: float = 0.5) -> dict[str, float]:
    return {START.digest: 0.3, **{each.digest: 0.85 if i == best else others for i, each in enumerate(LEADERS)}}


@contextmanager
def searched(folder: Path, evaluator: Planted, leaders: Sequence[Workflow] = LEADERS) -> Iterator[Store]:
    """A store with a search of the start and the leaders on the first KNOWN problems."""
    with closing(Store(folder / "run.sqlite")) as store:
        evaluator.keep_in(store)
        key = SessionKey("arithmetic")
        store.open_session(key, "arithmetic")
        for place, workflow in enumerate([START, *leaders]):
            results = asyncio.run(evaluator.run(workflow, [(each, 0) for each in PROBLEMS[:KNOWN]]))
            evaluation = summarise(workflow.digest, evaluator.executor_key(), results)
            store.record(key, Node(place + 1, place or None, workflow, evaluation))
        evaluator.runs = 0
        yield store


def chosen(
    store: Store, evaluator: Planted, calls: int, leaders: Sequence[Workflow] = LEADERS, reserve: int = 0
) -> tuple[Workflow, int]:
    evaluator.keep_in(store)
    runs = ClosingRuns(evaluator, store, "", 1, calls, unknown=64)
    return asyncio.run(choose(runs, START, leaders, PROBLEMS, KNOWN, reserve))


def test_the_planted_best_wins_although_all_leaders_had_the_same_luck(tmp_path: Path) -> None:
    """Six leaders tie on the search's problems, so the search's own scores pick the first and never the planted one."""
    right = 0
    for seed in range(20):
        evaluator = Planted(rates(), seed)
        with searched(tmp_path / str(seed), evaluator) as store:
            right += chosen(store, evaluator, 1000)[0] == LEADERS[3]
            assert chosen(store, evaluator, 0) == (LEADERS[0], KNOWN)
    assert right >= 18


def test_the_start_is_the_choice_where_no_leader_is_better(tmp_path: Path) -> None:
    """What led by luck alone falls behind the start on fresh problems."""
    evaluator = Planted({START.digest: 0.9, **{each.digest: 0.1 for each in LEADERS}})
    with searched(tmp_path, evaluator) as store:
        assert chosen(store, evaluator, 3000)[0] == START


@pytest.mark.parametrize("calls", [0, 1, 50, 200, 700, 3000])
def test_it_costs_no_more_calls_than_it_may_and_leaves_the_reserve(tmp_path: Path, calls: int) -> None:
    """Each run asks three times; what the search has run is not run again."""
    evaluator = Planted(rates())
    with searched(tmp_path, evaluator) as store:
        _, seen = chosen(store, evaluator, calls, reserve=calls // 2)
    assert evaluator.runs * 3 <= calls - calls // 2
    assert seen >= KNOWN
    assert (seen > KNOWN) == (calls >= 50)


def test_the_problems_of_a_search_bound_those_of_its_end(tmp_path: Path) -> None:
    """A single leader is compared with the start on as many fresh problems as the search had, however much is left."""
    evaluator = Planted(rates(others=0.3))
    with searched(tmp_path, evaluator, LEADERS[:1]) as store:
        assert chosen(store, evaluator, UNLIMITED, LEADERS[:1])[1] == 2 * KNOWN
    assert evaluator.runs == 2 * KNOWN


@pytest.mark.parametrize("leaders", [1, 2, 3])
def test_the_runs_that_are_announced_are_the_most_that_it_makes(tmp_path: Path, leaders: int) -> None:
    """Where no leader is ever ahead the choice takes every stage; the test comes on top."""
    alike = Planted({START.digest: 0.0, **{each.digest: 0.0 for each in LEADERS}})
    with searched(tmp_path, alike, LEADERS[:leaders]) as store:
        chosen(store, alike, UNLIMITED, LEADERS[:leaders])
    sizes = (f"limit={KNOWN}", f"task.validate_size={len(PROBLEMS)}", f"rounds={leaders}", "task.test_size=60")
    found = config(tmp_path, *sizes)
    assert most_runs(found) == alike.runs + 60
    few = config(tmp_path, "limit=16", "task.validate_size=16", "rounds=1", "task.test_size=60")
    assert at_most(few) == "the end (choice and test): at most 60 runs, 2,000 executor calls: final_calls"


def test_the_ceiling_that_cuts_runs_off_is_the_one_that_is_named(tmp_path: Path) -> None:
    """The error of the ceiling begins with its key, which the closing table prints."""

    class Cut(Planted):
        def _result(self, attempt: Attempt, score: float) -> ProblemResult:
            if PROBLEMS.index(attempt.problem) < KNOWN:
                return super()._result(attempt, score)
            return attempt.result(Outcome.BUDGET, error="final_calls is reached: 3 calls are spent")

    evaluator = Cut(rates())
    with searched(tmp_path, evaluator) as store:
        runs = ClosingRuns(evaluator, store, "", 1, 1000, unknown=64)
        assert asyncio.run(choose(runs, START, LEADERS, PROBLEMS, KNOWN))[1] == KNOWN
    assert runs.spent == "final_calls is reached: 3 calls are spent"


def test_one_that_is_ahead_ends_it(tmp_path: Path) -> None:
    """Six leaders would see three stages of fresh problems; one that always wins needs eight problems to be ahead."""
    clear = {START.digest: 0.0, **{each.digest: float(i == 2) for i, each in enumerate(LEADERS)}}
    evaluator = Planted(clear)
    with searched(tmp_path, evaluator) as store:
        assert chosen(store, evaluator, UNLIMITED) == (LEADERS[2], 2 * KNOWN)


@pytest.mark.parametrize("cut", [1, 7, 30, 61, 100])
def test_a_killed_choice_goes_on_to_the_same_end_and_runs_nothing_twice(tmp_path: Path, cut: int) -> None:
    """The process ends after `cut` runs; the next one makes the rest and no more."""
    whole = Planted(rates(), seed=5)
    with searched(tmp_path / "whole", whole) as store:
        expected = chosen(store, whole, 1000)
    first, again = Planted(rates(), seed=5, cut=UNLIMITED), Planted(rates(), seed=5)
    with searched(tmp_path / "cut", first) as store:
        first.cut = cut
        with pytest.raises(asyncio.CancelledError):
            chosen(store, first, 1000)
        assert chosen(store, again, 1000) == expected
        assert cut + again.runs == whole.runs
        assert chosen(store, again, 1000) == expected
        assert cut + again.runs == whole.runs, "a repeated report runs nothing"


def test_a_start_that_cannot_be_run_is_said(tmp_path: Path) -> None:
    """Without a stored result and without calls there is no score."""
    evaluator = Planted(rates())
    with closing(Store(tmp_path / "run.sqlite")) as store:
        assert chosen(store, evaluator, 10)[1] == 0
        assert chosen(store, evaluator, 64 * 7)[1] > 0
    assert evaluator.runs * 3 <= 64 * 7


async def test_a_workflow_that_asks_more_than_it_did_before_is_stopped() -> None:
    """The estimate may be wrong, the ceiling is not."""

    class Counted:
        asked = 0

        async def complete(self, request: Request) -> Completion:
            self.asked += 1
            return Completion(text="a", input_tokens=1, output_tokens=1, cost_usd=0.0, model="m")

        async def aclose(self) -> None:
            return None

    client = Counted()
    evaluator = Quick()
    evaluator.client = client
    request = Request(messages=(Message(role="user", content="q"),), model="m", temperature=0.0, max_tokens=5)
    limited = held(evaluator, 3, 60.0).client
    for _ in range(3):
        await limited.complete(request)
    with pytest.raises(BudgetExhausted, match=r"^final_calls is reached: .* Raise final_calls"):
        await limited.complete(request)
    assert client.asked == 3
    assert evaluator.client is client
