# SPDX-License-Identifier: Apache-2.0
"""Racing gives up what is worse, hardly ever what is not, and changes nothing of what it does not give up."""

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.config import RacingConfig
from aflow_env.evaluation.attempt import Attempt
from aflow_env.evaluation.evaluator import Evaluator
from aflow_env.evaluation.racing import Race, race
from aflow_env.evaluation.results import Evaluation, Outcome, ProblemResult
from aflow_env.store.store import Store
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import Step, to_workflow
from tests.search.quick import Quick

scores = st.sampled_from([0.0, 0.5, 1.0])
pairs = st.lists(st.tuples(scores, scores), min_size=1, max_size=5)
PROBLEMS = [Problem(id=f"p{i}", prompt=f"question {i}", answer="a") for i in range(60)]
RULE = RacingConfig(block=8, delta=0.05)


def workflow(name: str) -> Workflow:
    return to_workflow([Step("Custom", name)], Arithmetic.spec)


class Shares(Quick):
    """Each workflow solves its share of the problems, drawn; `lost` runs end in a failure of the world."""

    def __init__(self, shares: dict[str, float], lost: Sequence[int] = ()) -> None:
        super().__init__()
        self.shares = {workflow(name).digest: share for name, share in shares.items()}
        self.lost = frozenset(f"p{i}" for i in lost)

    def score_of(self, workflow: Workflow, attempt: Attempt) -> float:
        place = int(attempt.problem.id[1:])
        rng = np.random.default_rng([int(workflow.digest, 16), attempt.repeat])
        return float(rng.permutation(len(PROBLEMS))[place] < self.shares[workflow.digest] * len(PROBLEMS))

    async def _run(self, workflow: Workflow, attempts: Sequence[Attempt]) -> list[ProblemResult]:
        found = await super()._run(workflow, attempts)
        return [
            each._replace(outcome=Outcome.LLM_ERROR, score=0.0) if each.problem_id in self.lost else each
            for each in found
        ]


async def incumbent_and(
    evaluator: Evaluator, name: str, repeats: int = 1, rule: RacingConfig = RULE
) -> tuple[Evaluation, Evaluation]:
    """The incumbent in full, and the named workflow raced against it."""
    best = await evaluator.evaluate(workflow("best"), PROBLEMS, repeats)
    return best, await race(evaluator, workflow(name), PROBLEMS, repeats, best, rule)


@settings(max_examples=60)
@given(pairs, st.sampled_from([0.05, 0.3, 0.6]))
def test_what_is_at_least_as_good_is_given_up_with_probability_delta_at_most(
    runs: list[tuple[float, float]], delta: float
) -> None:
    """Exactly, over all orders, looking after every run; and the mean capital never grows."""
    better = [(max(pair), min(pair)) for pair in runs]  # the candidate's sum is not below the incumbent's
    given_up, orders, capital = 0, 0, np.zeros(len(runs))
    for order in permutations(better):
        test, looked = Race([theirs for _, theirs in order], delta), False
        for place, (ours, _) in enumerate(order):
            test.record(ours)
            looked |= test.hopeless
            capital[place] += np.mean(test._capital)
        given_up += looked
        orders += 1
    assert given_up <= delta * orders
    assert (capital / orders <= 1 + 1e-9).all()


@settings(max_examples=10)
@given(st.integers(20, 60), st.floats(0.1, 0.9), st.booleans(), st.integers(0, 2**32))
def test_a_candidate_that_is_just_as_good_is_hardly_ever_given_up(
    n: int, share: float, paired: bool, seed: int
) -> None:
    """The hardest truth there is: equal sums. 100 orders; four standard deviations above delta would be a bug."""
    rng = np.random.default_rng(seed)
    theirs = (np.arange(n) < share * n).astype(float)
    ours = theirs if paired else rng.permutation(theirs)
    given_up, orders, delta = 0, 100, 0.1
    for _ in range(orders):
        order = rng.permutation(n)
        test = Race(theirs[order].tolist(), delta)
        for score in ours[order]:
            test.record(score)
            if test.hopeless:
                given_up += 1
                break
    assert given_up / orders <= delta + 4 * np.sqrt(delta * (1 - delta) / orders)


async def test_a_hopeless_workflow_stops_early_and_its_evaluation_says_how_many_runs_it_had() -> None:
    evaluator = Shares({"best": 0.8, "bad": 0.2})
    best, bad = await incumbent_and(evaluator, "bad")
    assert bad.n == len(bad.results) < 30
    assert bad.n % RULE.block == 0
    assert bad.score < best.score
    assert bad.ci95[1] - bad.ci95[0] > best.ci95[1] - best.ci95[0]
    assert evaluator.runs == best.n + bad.n
    assert [each.problem_id for each in bad.results] == sorted(
        (each.problem_id for each in bad.results), key=lambda name: int(name[1:])
    )


@pytest.mark.parametrize("repeats", [1, 2])
async def test_a_promising_workflow_earns_all_problems_and_repeats_and_is_as_if_there_were_no_race(
    repeats: int,
) -> None:
    shares = {"best": 0.5, "good": 0.7}
    _, raced = await incumbent_and(Shares(shares), "good", repeats)
    assert raced == await Shares(shares).evaluate(workflow("good"), PROBLEMS, repeats)
    assert raced.n == repeats * len(PROBLEMS)


async def test_a_race_that_was_cut_off_finds_what_was_paid_and_decides_the_same(tmp_path: Path) -> None:
    shares = {"best": 0.8, "worse": 0.6}
    _, whole = await incumbent_and(Shares(shares), "worse")
    assert RULE.block * 2 < whole.n < len(PROBLEMS)

    class Dying(Shares):
        async def _run(self, workflow: Workflow, attempts: Sequence[Attempt]) -> list[ProblemResult]:
            if len(self.asked) == 3:
                raise KeyboardInterrupt
            return await super()._run(workflow, attempts)

    store = Store(tmp_path / "run.sqlite")
    dying, after = Dying(shares), Shares(shares)
    dying.keep_in(store)
    after.keep_in(store)
    with pytest.raises(KeyboardInterrupt):
        await incumbent_and(dying, "worse")
    _, resumed = await incumbent_and(after, "worse")
    assert resumed == whole
    assert dying.runs + after.runs == len(PROBLEMS) + whole.n, "nothing is run twice"
    store.close()


async def test_more_in_the_cache_than_the_race_would_have_run_does_not_change_its_verdict(tmp_path: Path) -> None:
    shares = {"best": 0.8, "bad": 0.2}
    _, alone = await incumbent_and(Shares(shares), "bad")
    store = Store(tmp_path / "run.sqlite")
    evaluator = Shares(shares)
    evaluator.keep_in(store)
    await evaluator.evaluate(workflow("bad"), PROBLEMS)
    _, found = await incumbent_and(evaluator, "bad")
    assert found == alone
    assert found.spent_usd == 0
    store.close()


async def test_runs_that_were_lost_to_the_world_never_speak_against_a_candidate() -> None:
    """Twelve runs of sixty are lost, the most that may be."""
    lost = Shares({"best": 0.9, "same": 0.9}, lost=range(12))
    best, same = await incumbent_and(lost, "same")
    assert (best.n, same.n) == (48, 48)
    assert len(same.results) == len(PROBLEMS)


async def test_a_race_that_is_given_up_may_have_lost_what_the_whole_evaluation_may() -> None:
    """Five of the 24 runs that it has made: more than a fifth of these, and not of the sixty that were planned."""
    shares = {"best": 0.8, "bad": 0.2}
    _, alone = await incumbent_and(Shares(shares), "bad")
    first = [int(each.problem_id[1:]) for each in alone.results][:5]
    _, bad = await incumbent_and(Shares(shares, lost=first), "bad")
    assert len(bad.results) == 24
    assert bad.outcomes[Outcome.LLM_ERROR] == 5 > 0.2 * len(bad.results)


async def test_an_incumbent_without_results_a_problem_gives_nothing_up() -> None:
    """An imported round has a score and no results."""
    evaluator = Shares({"best": 0.9, "bad": 0.1})
    best = await evaluator.evaluate(workflow("best"), PROBLEMS)
    bare = Evaluation(best.digest, "aflow", 0.9, (0.0, 1.0), 0, {}, 0.0, 0, 0, 0, 0, 0.0, ())
    assert (await race(evaluator, workflow("bad"), PROBLEMS, 1, bare, RULE)).n == len(PROBLEMS)
