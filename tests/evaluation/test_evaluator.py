# SPDX-License-Identifier: Apache-2.0
"""The evaluator through the real sandbox and the real store; only the language model is a function of the request."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aflow_env.config import LLMConfig
from aflow_env.errors import BudgetExhausted, InfrastructureError
from aflow_env.evaluation.attempt import DRAWS
from aflow_env.evaluation.evaluator import EvaluationCache, Evaluator
from aflow_env.evaluation.results import Outcome
from aflow_env.jail_limits import JailLimits
from aflow_env.llm.client import Completion, LLMError, PromptTooLong, Request
from aflow_env.sandbox.pool import Sandbox
from aflow_env.store.store import Store
from aflow_env.tasks.problem import Problem, RunTests, Score
from aflow_env.tasks.scorers import score_by_tests
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.steps import Step, to_workflow

SPEC = TaskSpec("sums", "SUMS", ("Custom", "ScEnsemble", "Programmer"))
CODE = TaskSpec("code", "CODE", ("CustomCodeGenerate",), entry_point=True)
PROBLEMS = [Problem(id=f"p{i}", prompt=f"question {i}", answer=f"answer {i}") for i in range(6)]
ASK = to_workflow([Step("Custom", "Answer.")], SPEC)
EXECUTOR = LLMConfig(kind="simulated", model="m", temperature=0.5, max_tokens=64)

Answer = Callable[[Request], str | Exception]


class ScriptedClient:
    """Answers by a function of the request; an exception that it returns is raised."""

    def __init__(self, answer: Answer, delay: Callable[[], Awaitable[None]] | None = None) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._delay = delay

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        if self._delay:
            await self._delay()
        text = self._answer(request)
        if isinstance(text, Exception):
            raise text
        return Completion(text=text, model="m", input_tokens=10, output_tokens=2, cache_read_tokens=5, cost_usd=0.25)

    async def aclose(self) -> None:
        pass


@dataclass(frozen=True)
class Sums:
    """Right is who says the answer; with hidden tests, who passes them."""

    spec: TaskSpec = SPEC

    def load(self, split: str, limit: int | None = None, seed: int = 0) -> list[Problem]:
        return PROBLEMS[:limit]

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        if problem.hidden_tests:
            return await score_by_tests(problem, output, run_code)
        return Score(float(problem.answer in output), output, problem.answer in output)


def number(request: Request) -> int:
    """Which of PROBLEMS a request is about."""
    return next(i for i, problem in enumerate(PROBLEMS) if problem.prompt in request.messages[-1].content)


def right_below(limit: int) -> Answer:
    return lambda request: f"answer {number(request)}" if number(request) < limit else "no idea"


@asynccontextmanager
async def evaluators(cache: EvaluationCache | None = None, spec: TaskSpec = SPEC, **limits: Any) -> Any:
    """A function from a client to an evaluator, all with one sandbox."""
    async with Sandbox(limits=JailLimits(wall_seconds=limits.pop("wall_seconds", 20.0))) as sandbox:
        yield lambda client, **more: Evaluator(Sums(spec), client, EXECUTOR, sandbox, cache, **(limits | more))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run.sqlite")


def outcomes(results: Sequence[Any]) -> list[str]:
    return [str(result.outcome) for result in results]


async def test_a_workflow_is_scored_with_cost_tokens_and_an_interval() -> None:
    async with evaluators() as make:
        client = ScriptedClient(right_below(4))
        evaluation = await make(client).evaluate(ASK, PROBLEMS)
    assert evaluation.score == pytest.approx(4 / 6)
    assert evaluation.n == 6
    assert evaluation.outcomes == {"correct": 4, "wrong": 2}
    assert evaluation.ci95[0] < 4 / 6 < evaluation.ci95[1]
    assert (evaluation.cost_usd, evaluation.spent_usd) == (1.5, 1.5)
    assert (evaluation.input_tokens, evaluation.output_tokens, evaluation.calls) == (90, 12, 6)
    assert [result.problem_id for result in evaluation.results] == [problem.id for problem in PROBLEMS]
    assert evaluation.results[5].answer == "no idea"
    request = client.requests[0]
    assert (request.model, request.temperature, request.max_tokens) == ("m", 0.5, 64)


async def test_what_is_stored_is_neither_run_nor_paid_again(store: Store) -> None:
    async with evaluators(store) as make:
        first = await make(ScriptedClient(right_below(4))).evaluate(ASK, PROBLEMS[:4])
        client = ScriptedClient(right_below(6))
        second = await make(client).evaluate(ASK, PROBLEMS)
        assert sorted(map(number, client.requests)) == [4, 5]
        third = await make(ScriptedClient(right_below(0))).evaluate(ASK, PROBLEMS)
    assert first.score == second.score == third.score == 1.0
    assert (second.cache_hits, third.cache_hits) == (4, 6)
    assert (second.spent_usd, third.spent_usd, third.cost_usd) == (0.5, 0.0, 1.5)
    assert third == second


async def test_other_settings_and_other_contents_under_the_same_id_are_other_results(store: Store) -> None:
    async with evaluators(store) as make:
        one = await make(ScriptedClient(right_below(6))).evaluate(ASK, PROBLEMS)
        seeded = await make(ScriptedClient(right_below(3)), seed=1).evaluate(ASK, PROBLEMS)
        trained = await make(ScriptedClient(right_below(2))).evaluate(ASK, PROBLEMS, version="step 7")
        changed = [replace(problem, answer="none") for problem in PROBLEMS]
        other = await make(ScriptedClient(right_below(6))).evaluate(ASK, changed)
    assert [one.score, seeded.score, trained.score, other.score] == [1.0, 0.5, pytest.approx(1 / 3), 0.0]


async def test_what_the_executor_is_sent_decides_which_results_are_found(store: Store) -> None:
    """Left at their defaults these keys are in no digest: stores keep what they hold."""
    others: list[dict[str, Any]] = [
        {"effort": "high"},
        {"send_temperature": False},
        {"send_seed": False},
        {"accept_empty": True},
        {"temperature": 0.4},
        {"sample_temperature": 0.4},
    ]
    async with Sandbox() as sandbox:

        def key(**keys: Any) -> str:
            config = EXECUTOR.model_copy(update=keys)
            return Evaluator(Sums(), ScriptedClient(right_below(6)), config, sandbox, store).executor_key()

        assert key() == key(effort=None, send_temperature=None, send_seed=True, accept_empty=False)
        assert len({key(), *(key(**other) for other in others)}) == 1 + len(others)


async def test_identical_questions_are_new_draws_and_every_run_asks_for_the_same_ones() -> None:
    workflow = to_workflow([Step("Custom", "Answer."), Step("ScEnsemble", samples=4)], SPEC)
    seen = []
    async with evaluators() as make:
        for _ in range(2):
            client = ScriptedClient(lambda request: f"answer {number(request)} draw {request.sample}")
            await make(client).evaluate(workflow, PROBLEMS[:3], repeats=2)
            seen.append(sorted(request.model_dump_json() for request in client.requests))
            answers = [request for request in client.requests if "Answer." in request.messages[-1].content]
            for problem in range(3):
                draws = sorted(request.sample for request in answers if number(request) == problem)
                assert draws == [0, 1, 2, 3, DRAWS, DRAWS + 1, DRAWS + 2, DRAWS + 3]
    assert seen[0] == seen[1]


async def test_an_ensemble_votes_on_draws_of_another_temperature_whatever_the_timing() -> None:
    """The first identical question of each repeat has `temperature`, each later one `sample_temperature`."""
    workflow = to_workflow([Step("Custom", "Answer."), Step("ScEnsemble", samples=4)], SPEC)
    config = EXECUTOR.model_copy(update={"temperature": 0.0, "sample_temperature": 0.9})
    pauses = Random(0)
    async with Sandbox() as sandbox:
        client = ScriptedClient(lambda request: f"draw {request.sample}", lambda: asyncio.sleep(pauses.random() / 50))
        await Evaluator(Sums(), client, config, sandbox).evaluate(workflow, PROBLEMS, repeats=2)
    answers = [request for request in client.requests if "Answer." in request.messages[-1].content]
    assert len(answers) == len(PROBLEMS) * 2 * 4
    assert {(request.sample % DRAWS, request.temperature) for request in answers} == {
        (0, 0.0),
        (1, 0.9),
        (2, 0.9),
        (3, 0.9),
    }


async def test_select_draws_until_a_program_passes_the_public_tests() -> None:
    """It pays for no draw after that one, and the hidden tests alone decide the score."""
    spec = TaskSpec("code", "CODE", ("CustomCodeGenerate", "Select"), entry_point=True)
    workflow = to_workflow([Step("CustomCodeGenerate"), Step("Select", samples=5)], spec)
    problem = Problem("p", "question 0", "", "double", ("assert double(3) == 6",), "assert double(5) == 10")
    for bodies, outcome, calls in ((("0", "6", "x + x"), "wrong", 2), (("0", "1", "x + x"), "correct", 3)):
        client = ScriptedClient(lambda request, b=bodies: f"def double(x): return {b[min(request.sample, 2)]}")  # type: ignore[misc]
        async with evaluators(spec=spec) as make:
            evaluation = await make(client).evaluate(workflow, [problem])
        assert (evaluation.outcomes, evaluation.calls) == ({outcome: 1}, calls)
        assert all("== 10" not in request.messages[-1].content for request in client.requests)


async def test_a_vote_over_a_planted_majority_is_exact() -> None:
    """Four of six draws say it in other words; the evaluator reads the task's kind of answer."""
    spec = TaskSpec("sums", "SUMS", ("Custom", "Vote"), answers="number")
    workflow = to_workflow([Step("Custom", "Answer."), Step("Vote", samples=6)], spec)
    said = ("9", "It is 4", "8", "\\boxed{4.0}", "so 4.", "4")
    problem = Problem("p", "question 0", "It is 4")
    async with evaluators(spec=spec) as make:
        evaluation = await make(ScriptedClient(lambda request: said[request.sample])).evaluate(workflow, [problem])
    assert (evaluation.outcomes, evaluation.calls) == ({"correct": 1}, 6)


async def test_failures_of_the_world_are_excluded_and_asked_again_next_time(store: Store) -> None:
    broken = LLMError("overloaded", "no capacity")
    async with evaluators(store) as make:
        flaky = ScriptedClient(lambda request: broken if number(request) == 0 else right_below(3)(request))
        first = await make(flaky).evaluate(ASK, PROBLEMS)
        assert outcomes(first.results) == ["llm_error", "correct", "correct", "wrong", "wrong", "wrong"]
        assert (first.n, first.score, sum(first.outcomes.values())) == (5, 0.4, 6)
        client = ScriptedClient(right_below(6))
        second = await make(client).evaluate(ASK, PROBLEMS)
        assert list(map(number, client.requests)) == [0]
    assert (second.n, second.score) == (6, 0.5)


async def test_too_many_failures_of_the_world_are_no_score_and_keep_what_ran(store: Store) -> None:
    broken = LLMError("connection", "refused")
    async with evaluators(store) as make:
        down = ScriptedClient(lambda request: broken if number(request) > 2 else right_below(6)(request))
        with pytest.raises(InfrastructureError, match=r"3 of 6 .*20% .*3 x connection: refused"):
            await make(down).evaluate(ASK, PROBLEMS)
        client = ScriptedClient(right_below(6))
        assert (await make(client).evaluate(ASK, PROBLEMS)).cache_hits == 3
        half = await make(down, seed=2, infrastructure_limit=0.5).evaluate(ASK, PROBLEMS)
    assert half.n == 3


async def test_an_executor_that_refuses_every_call_ends_the_evaluation_at_once() -> None:
    refused = LLMError("authentication", "wrong key")
    async with evaluators() as make:
        client = ScriptedClient(lambda request: refused if number(request) == 0 else right_below(6)(request))
        with pytest.raises(InfrastructureError, match="wrong key"):
            await make(client).evaluate(ASK, PROBLEMS)


async def test_an_exhausted_budget_is_no_score_and_what_ran_before_it_is_kept(store: Store) -> None:
    def answer(request: Request) -> str | Exception:
        return BudgetExhausted("budget.usd is reached") if number(request) > 3 else f"answer {number(request)}"

    async with evaluators(store) as make:
        with pytest.raises(BudgetExhausted, match=r"2 of 6 .*budget.usd is reached"):
            await make(ScriptedClient(answer)).evaluate(ASK, PROBLEMS)
        done = await make(ScriptedClient(answer)).evaluate(ASK, PROBLEMS[:4])
        assert (done.n, done.score, done.cache_hits) == (4, 1.0, 4)


async def test_the_workflows_own_failures_count_as_zero() -> None:
    graph = ASK.graph.replace(
        "    async def __call__(self, problem: str):\n",
        "    async def __call__(self, problem: str):\n"
        "        if problem == 'question 0':\n            raise KeyError('mine')\n"
        "        if problem == 'question 1':\n            import asyncio\n            await asyncio.sleep(60)\n"
        "        if problem == 'question 2':\n            await self.custom(nonsense=1)\n",
    )
    assert graph != ASK.graph

    def answer(request: Request) -> str | Exception:
        return PromptTooLong("too long") if number(request) == 3 else f"answer {number(request)}"

    async with evaluators(wall_seconds=6.0) as make:
        evaluation = await make(ScriptedClient(answer)).evaluate(Workflow(graph, ASK.prompts), PROBLEMS[:5])
    assert outcomes(evaluation.results) == ["crash", "timeout", "crash", "crash", "correct"]
    assert (evaluation.n, evaluation.score) == (5, 0.2)
    assert "mine" in evaluation.results[0].error
    assert "too long" in evaluation.results[3].error


@pytest.mark.parametrize("kind", ["refused", "no_text", "malformed"])
async def test_a_workflow_cannot_leave_hard_problems_out_of_its_score(kind: Any, caplog: Any) -> None:
    """A request that the model does not answer counts as wrong, costs what it cost, and is warned of."""
    cut = "length" if kind == "no_text" else "stop"
    billed = Completion(text="", model="m", input_tokens=10, output_tokens=2, cost_usd=0.25, stop_reason=cut)
    silent = LLMError(kind, "nothing", bill="told", billed=billed)
    async with evaluators() as make:
        client = ScriptedClient(lambda request: silent if number(request) == 5 else right_below(5)(request))
        evaluation = await make(client).evaluate(ASK, PROBLEMS)
        assert (evaluation.n, evaluation.score) == (6, pytest.approx(5 / 6))
        assert (evaluation.calls, evaluation.cost_usd, evaluation.truncated) == (6, 1.5, int(kind == "no_text"))
        assert evaluation.results[5].outcome == Outcome.CRASH
        assert "1 of 6 runs count as wrong" in caplog.text
        blank = Workflow(ASK.graph.replace("input=problem, instruction=prompt_custom.STEP_1_PROMPT", 'input=" "'), "")
        blank = replace(blank, graph=blank.graph.replace('input=" "', 'input=" ", instruction=""'))
        empty = await make(client).evaluate(blank, PROBLEMS[:1])
    assert (empty.outcomes, empty.calls) == ({"crash": 1}, 0)
    assert "the prompt is empty" in empty.results[0].error


async def test_a_workflow_reads_each_cost_once_when_its_calls_run_side_by_side() -> None:
    body = """\
        import asyncio
        await asyncio.gather(*[self.custom(input=problem, instruction=str(k)) for k in range(4)])
        return self.llm.get_usage_summary()["total_cost"], 0.0
"""
    graph = ASK.graph[: ASK.graph.index("        answer_1 =")] + body
    async with evaluators() as make:
        client = ScriptedClient(right_below(6), delay=lambda: asyncio.sleep(0.05))
        evaluation = await make(client).evaluate(Workflow(graph, ASK.prompts), PROBLEMS[:1])
    assert (evaluation.results[0].answer, evaluation.cost_usd) == ("1.0", 1.0)


async def test_code_is_scored_in_the_sandbox_and_hidden_tests_never_reach_the_model() -> None:
    secret = "def check(candidate):\n    assert candidate(20) == 21"
    problem = Problem("c", "Add one.", "", entry_point="add", public_tests=("assert add(1) == 2",), hidden_tests=secret)
    workflow = to_workflow([Step("CustomCodeGenerate", "Write it.")], CODE)
    async with evaluators(spec=CODE) as make:
        for code, outcome in (("x + 1", "correct"), ("2", "wrong")):
            client = ScriptedClient(lambda request, code=code: f"```python\ndef add(x):\n    return {code}\n```")
            evaluation = await make(client).evaluate(workflow, [problem])
            assert outcomes(evaluation.results) == [outcome]
            assert "20" not in str(client.requests)


async def test_a_limit_of_the_judge_is_told_with_the_wrong_result() -> None:
    """A solution that runs into one counts as wrong, and the stored result says why."""
    problem = Problem("c", "Add one.", "", entry_point="add", hidden_tests="assert add(20) == 21")
    code = "class Yes:\n    def __eq__(self, other): return True\ndef add(x): return Yes()"
    workflow = to_workflow([Step("CustomCodeGenerate", "Write it.")], CODE)
    async with evaluators(spec=CODE) as make:
        client = ScriptedClient(lambda request: f"```python\n{code}\n```")
        evaluation = await make(client).evaluate(workflow, [problem])
    assert outcomes(evaluation.results) == ["wrong"]
    assert evaluation.score == 0
    assert evaluation.results[0].error.startswith("Refused: `eq` of an object (Yes)")


async def test_two_evaluations_of_one_workflow_at_once_pay_once(store: Store) -> None:
    async with evaluators(store) as make:
        client = ScriptedClient(right_below(6), delay=lambda: asyncio.sleep(0.05))
        evaluator = make(client)
        both = await asyncio.gather(*(evaluator.evaluate(ASK, PROBLEMS) for _ in range(2)))
    assert len(client.requests) == 6
    assert [each.score for each in both] == [1.0, 1.0]


async def test_a_result_that_another_process_stored_first_is_the_one_that_is_used(store: Store, tmp_path: Path) -> None:
    async with evaluators(store) as make, evaluators(Store(tmp_path / "run.sqlite")) as make_other:

        async def overtake() -> None:
            await make_other(ScriptedClient(right_below(6))).evaluate(ASK, PROBLEMS)

        slow = await make(ScriptedClient(right_below(0), delay=overtake)).evaluate(ASK, PROBLEMS)
    assert slow.score == 1.0
    assert slow.cache_hits == 0


async def test_a_long_answer_is_scored_whole_and_kept_in_part() -> None:
    async with evaluators() as make:
        text = "x" * 9000 + " answer 0 " + "y" * 9000
        evaluation = await make(ScriptedClient(lambda request: text)).evaluate(ASK, PROBLEMS[:1])
    assert evaluation.outcomes == {"correct": 1}
    assert len(evaluation.results[0].answer) < 2100


async def test_a_bug_of_ours_is_not_an_outcome() -> None:
    async with evaluators() as make:
        with pytest.raises(ZeroDivisionError):
            await make(ScriptedClient(lambda request: ZeroDivisionError("ours"))).evaluate(ASK, PROBLEMS)
        with pytest.raises(ValueError, match="needs problems"):
            await make(ScriptedClient(right_below(6))).evaluate(ASK, [])


def test_the_outcomes_of_the_sandbox_are_outcomes_here() -> None:
    assert {"timeout", "crash", "violation"} <= {str(outcome) for outcome in Outcome}


async def test_cut_replies_and_unknown_prices_are_counted_stored_and_warned_of(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """An evaluation says how many of its replies were cut and how many have no price, also from the store."""

    class Cut(ScriptedClient):
        async def complete(self, request: Request) -> Completion:
            more = {"stop_reason": "length", "cost_known": False} if number(request) == 0 else {}
            return (await super().complete(request)).model_copy(update=more)

    async with evaluators(store) as make:
        first = await make(Cut(right_below(4))).evaluate(ASK, PROBLEMS)
        again = await make(Cut(right_below(4))).evaluate(ASK, PROBLEMS)
    for evaluation in (first, again):
        assert (evaluation.truncated, evaluation.unpriced) == (1, 1)
    assert again.cache_hits == 6
    assert "1 of 6 replies were cut at max_tokens=64" in caplog.text
    assert "raise executor.max_tokens" in caplog.text


class Told(Sums):
    """Sums whose scorer says why, with a text longer than what is kept."""

    async def score(self, problem: Problem, output: str, run_code: RunTests) -> Score:
        score = await super().score(problem, output, run_code)
        return replace(score, feedback="" if score.correct else f"expected {problem.answer} {'x' * 3000} end")


async def test_a_wrong_answer_keeps_the_scorers_text_and_the_steps(store: Store) -> None:
    """Both are stored, cut, and the same when they are looked up; a correct run keeps no steps."""
    steps = [Step("Custom", "Answer."), Step("ScEnsemble", samples=3), Step("Custom", "Once more.")]
    workflow = to_workflow(steps, SPEC)
    async with Sandbox() as sandbox:
        client = ScriptedClient(lambda request: right_below(1)(request) + "\n so  " + "y" * 900)
        evaluator = Evaluator(Told(), client, EXECUTOR, sandbox, store)
        first = await evaluator.evaluate(workflow, PROBLEMS[:2])
        second = await evaluator.evaluate(workflow, PROBLEMS[:2])
    assert first.results == tuple(each._replace(cached=False) for each in second.results)
    right, wrong = second.results
    assert (right.feedback, right.trace) == ("", "")
    assert wrong.feedback.startswith("expected answer 1 xxx")
    assert wrong.feedback.endswith("xx end")
    assert len(wrong.feedback) < 1010
    lines = wrong.trace.splitlines()
    operators = ["Custom", "Custom", "Custom", "ScEnsemble", "Custom"]
    assert [line.partition(":")[0] for line in lines] == [f"{n}. {name}" for n, name in enumerate(operators, start=1)]
    assert lines[0] == f"1. Custom: no idea so {'y' * 900}"[: len("1. Custom: ") + 160]


async def test_a_long_trace_says_how_many_steps_it_leaves_out_and_a_failed_call_has_no_output() -> None:
    """Twelve steps stay; a call that raised is there, in its place."""
    more = """\
        try:
            await operator.ScEnsemble(self.llm)(solutions=[], problem=problem)
        except Exception:
            pass
        for n in range(19):
            await self.custom(input=str(n) + problem, instruction="")
        answer_1"""
    graph = ASK.graph.replace("        answer_1", more, 1)
    async with evaluators() as make:
        evaluation = await make(ScriptedClient(right_below(0))).evaluate(Workflow(graph, ASK.prompts), PROBLEMS[:1])
    lines = evaluation.results[0].trace.splitlines()
    assert lines[:2] == ["1. ScEnsemble: no output", "2. Custom: no idea"]
    assert (len(lines), lines[-1]) == (13, "and 9 more")
