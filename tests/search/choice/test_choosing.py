# SPDX-License-Identifier: Apache-2.0
"""A round's choice among open proposals: each is paid for once, no program is run twice, Q decides as far as w says."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from aflow_env.config import AflowConfig
from aflow_env.errors import InfrastructureError
from aflow_env.llm.client import Completion, Request
from aflow_env.search.choice.choosing import DUPLICATE, Frontier, calls
from aflow_env.search.prediction.predict import ActionValue, Candidate
from aflow_env.search.prediction.surrogate import SurrogatePredictor
from aflow_env.search.proposals.proposal import LLMProposer, Proposal, RandomProposer, State
from aflow_env.search.session import SearchSession
from aflow_env.store.node_rows import DrawnProposal, Rejection
from aflow_env.store.store import Store
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.workflow.edits import format_edit, uniform_edit
from aflow_env.workflow.operators import CodeResult, OperatorContext, call_operator
from aflow_env.workflow.program import TaskSpec, Workflow
from aflow_env.workflow.signatures import SIGNATURES
from aflow_env.workflow.steps import Step, to_steps, to_workflow
from tests.search.quick import KEY, START, Quick, config, play, shuffled

CHOOSING = ("lookahead.nodes=4", "lookahead.edits=3", "redraws=3")
LED = ("rl_weight=1", "q.kind=surrogate", "selection.lambda_=0", "selection.alpha=100")
PHRASES = ("Think step by step.", "Be brief.")
ADD_FORMAT = '{"operation": "add", "operator": "Format", "position": 2}'


def choosing(folder: Path, *overrides: str) -> AflowConfig:
    return config(folder, *CHOOSING, *overrides)


def drawn_in(folder: Path) -> tuple[DrawnProposal, ...]:
    """All proposals of a run."""
    with closing(Store(folder / "run.sqlite")) as store:
        return store.session(KEY).proposals


@dataclass
class Says:
    """A predictor whose value is a function of the program."""

    asked: list[tuple[str, ...]] = field(default_factory=list)

    def of(self, workflow: Workflow) -> float:
        return int(workflow.digest[:4], 16) / 0xFFFF

    async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
        self.asked.append(tuple(edit.workflow.digest for edit in edits))
        return [ActionValue(self.of(edit.workflow)) for edit in edits]


def digests(session: SearchSession) -> list[str]:
    return [node.digest for node in session.tree]


@settings(max_examples=8)
@given(st.integers(0, 99), st.sampled_from([1, 3]), st.sampled_from(["0", "0.5", "1"]))
def test_no_program_is_run_twice_and_no_proposal_is_drawn_twice(seed: int, k: int, w: str) -> None:
    """All nodes and open proposals are distinct programs; what is open stays open until it is chosen."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = (f"seed={seed}", f"in_flight={k}", f"rl_weight={w}", "q.kind=surrogate", "rounds=10")
        session, _ = asyncio.run(play(choosing(folder, *keys), Quick(shuffled(seed)), predictor=Says()))
        drawn = drawn_in(folder)
    ran = digests(session)
    assert len(set(ran)) == len(ran)
    programs = [each.digest for each in drawn if each.digest]
    assert len(set(programs)) == len(programs)
    assert set(ran[1:]) <= set(programs)
    assert not any(isinstance(turn.ended, Rejection) for turn in session.turns)
    by_node: dict[int, list[int]] = {}
    for each in drawn:
        by_node.setdefault(each.node, []).append(each.ordinal)
    assert all(ordinals == list(range(len(ordinals))) for ordinals in by_node.values())


@settings(max_examples=6)
@given(st.integers(0, 99), st.sampled_from([1, 3]), st.integers(0, 999))
def test_the_tree_does_not_depend_on_who_answers_first(seed: int, k: int, jitter: int) -> None:
    """Proposals are drawn at a time and evaluations overlap, and the store is the same to the byte."""

    @dataclass(frozen=True)
    class Late(RandomProposer):
        pause: int = 0

        async def propose(self, state: State, seed: int) -> Proposal:
            await shuffled(seed + self.pause)()
            return await super().propose(state, seed)

    found = []
    for draw in (jitter, jitter + 1):
        with tempfile.TemporaryDirectory() as folder:
            chosen = choosing(Path(folder), f"seed={seed}", f"in_flight={k}", "rl_weight=0.5", "q.kind=surrogate")
            late = Late(chosen.task.instructions, draw)
            found.append(asyncio.run(play(chosen, Quick(shuffled(draw)), late, predictor=Says()))[1])
    assert found[0] == found[1]


async def test_with_weight_1_the_best_predicted_pair_is_run(tmp_path: Path) -> None:
    """Without a soft mix each round evaluates the open pair with the highest Q."""
    says = Says()
    session, _ = await play(choosing(tmp_path, *LED, "rounds=4"), Quick(), predictor=says)
    for turn in session.turns:
        assert turn.candidate is not None
        assert turn.prediction is not None
        assert turn.prediction.q == says.of(turn.candidate.workflow)
        assert turn.choice.q_mean is not None
        assert turn.prediction.q > turn.choice.q_mean
    first = [digest for asked in says.asked[:1] for digest in asked]
    assert session.tree.node(2).digest == max(first, key=lambda digest: int(digest[:4], 16))


async def test_with_weight_0_only_the_chosen_edit_is_predicted(tmp_path: Path) -> None:
    """The values of the others would decide nothing, and a policy's answers cost something."""
    says = Says()
    session, _ = await play(choosing(tmp_path, "rounds=5"), Quick(), predictor=says)
    assert [len(each) for each in says.asked] == [1] * 5
    assert not any(turn.choice.changed for turn in session.turns)


async def test_who_abstains_draws_one_edit_of_the_node_that_aflow_selects(tmp_path: Path) -> None:
    """Proposals may be paid calls, and without Q a choice among them is worth nothing; each round says it abstained."""
    shy = SurrogatePredictor(fewest=9)
    session, _ = await play(choosing(tmp_path, "rounds=6", "q.kind=surrogate", "rl_weight=1"), Quick(), predictor=shy)
    assert len([each for each in drawn_in(tmp_path) if not each.reason]) == len(session.turns) == 6
    assert {turn.choice.open for turn in session.turns} == {1}
    assert all(turn.choice.abstained and turn.choice.w == 0.0 and turn.prediction is None for turn in session.turns)
    assert [turn.choice.evaluations for turn in session.turns] == [1, 2, 3, 4, 5, 6]


async def test_who_abstains_no_longer_is_given_a_choice(tmp_path: Path) -> None:
    """From the round on that has evaluations enough, every node keeps its open proposals."""
    shy = SurrogatePredictor(fewest=4)
    session, _ = await play(choosing(tmp_path, "rounds=6", "q.kind=surrogate", "rl_weight=1"), Quick(), predictor=shy)
    assert [turn.choice.abstained for turn in session.turns] == [True] * 3 + [False] * 3
    assert all(turn.choice.open > 3 and turn.choice.w == 1.0 for turn in session.turns[3:])


EVERY = TaskSpec("all", "ALL", tuple(SIGNATURES), entry_point=True)


@pytest.mark.parametrize(
    ("operator", "samples", "number"),
    [("ScEnsemble", 5, 1 + 4 + 1), ("Vote", 5, 1 + 4), ("Select", 3, 1 + 2), ("MdEnsemble", 2, 1 + 1 + 5)],
)
async def test_the_calls_of_a_workflow_are_the_ones_that_it_makes(operator: str, samples: int, number: int) -> None:
    """Of one problem, with answers that differ and code that fails its tests, in normal form and in any other."""
    workflow = to_workflow([Step("Custom", "Answer."), Step(operator, samples=samples)], EVERY)
    assert calls(workflow) == number
    asked = 0

    async def ask(prompt: str, fields: tuple[str, ...]) -> str:
        nonlocal asked
        asked += 1
        return f"answer {asked}"

    async def fails(*given: object) -> CodeResult:
        return CodeResult("crash", error="no code")

    context = OperatorContext(ask, fails, entry_point="f")
    text: dict[str, JsonValue] = {"input": "How many?", "instruction": "Answer."}
    answers: list[JsonValue] = [(await call_operator("Custom", text, context))["response"] for _ in range(samples)]
    given: dict[str, JsonValue] = {"solutions": answers, "problem": "How many?", "entry_point": "f"}
    wanted = {name: given[name] for name in SIGNATURES[operator].model_fields}
    await call_operator(operator, wanted, context)
    assert asked == number


def test_the_calls_of_other_code_are_its_awaits() -> None:
    """Each counts the calls of its operator; one of an unknown thing counts once."""
    twice = "        x = await self.custom(problem, '')\n        return"
    assert calls(Workflow(START.graph.replace("        return", twice), "")) == 2
    voted = to_workflow([Step("Custom", "Answer."), Step("Vote", samples=5)], EVERY)
    assert calls(Workflow(voted.graph.replace("for _ in range(4):", "while len(solutions_2) < 5:"), "")) == 2
    assert calls(Workflow("", "")) == 1


async def test_a_predictor_that_fails_ends_the_search_with_its_error_and_no_task_is_left(tmp_path: Path) -> None:
    """Never a Q of 0 in its place."""

    class Fails(Says):
        async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
            if len(self.asked) > 2:
                raise InfrastructureError("the server is gone")
            return await super().predict(state, edits)

    with pytest.raises(InfrastructureError, match="the server is gone"):
        await play(choosing(tmp_path, *LED), Quick(), predictor=Fails())
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(("count", "q"), [(0, 0.5), (2, 0.5), (3, float("nan")), (3, 1.5)])
async def test_values_that_are_not_one_in_0_to_1_for_each_edit_are_an_error(
    tmp_path: Path, count: int, q: float
) -> None:
    """A predictor of the user's own that answers wrongly is told so."""

    class Wrong(Says):
        async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
            return [ActionValue(q)] * count

    with pytest.raises(ValueError, match=r"Wrong predicted .* for 3 edits"):
        await play(choosing(tmp_path, *LED), Quick(), predictor=Wrong())


async def test_one_node_ranks_the_edits_of_the_node_that_aflow_selects(tmp_path: Path) -> None:
    """With lookahead.nodes=1 all pairs of a round are of one node."""
    session, _ = await play(config(tmp_path, "lookahead.edits=4", "redraws=3", *LED), Quick(), predictor=Says())
    assert {turn.choice.open for turn in session.turns} == {4}


@dataclass
class Writer:
    """An LLM that writes one text, or else a uniform edit by the number of the draw; counted."""

    text: str = ""
    asked: list[int] = field(default_factory=list)

    async def complete(self, request: Request) -> Completion:
        self.asked.append(request.sample)
        random = Random(request.sample)
        text = self.text or format_edit(uniform_edit(to_steps(START), Arithmetic.spec, PHRASES, random))
        return Completion(text=text, model="m", input_tokens=1, output_tokens=1, cost_usd=0.0, stop_reason="stop")

    async def aclose(self) -> None:
        """Nothing to release."""


@pytest.mark.parametrize("text", [ADD_FORMAT, "no edit"])
async def test_a_proposer_that_repeats_itself_costs_a_bounded_number_of_calls(tmp_path: Path, text: str) -> None:
    """A node may draw (1 + redraws) proposals for each one that it had to have; rounds without any are lost."""
    chosen, model = choosing(tmp_path, "rounds=4", "redraws=1", "lookahead.edits=2"), Writer(text)
    session, _ = await play(chosen, Quick(), LLMProposer(model, chosen, "m", 1.0, 99))
    assert len(model.asked) <= sum(2 * (2 + session.tree.visits(node.round) - 1) for node in session.tree)
    assert len(set(model.asked)) == len(model.asked), "each draw is another sample"
    lost = [turn.ended for turn in session.turns if isinstance(turn.ended, Rejection)]
    assert len(lost) == (4 if text == "no edit" else 0)
    assert all("JSON" in ended.reason for ended in lost)


class Tokened:
    """A proposer without a valid edit, whose replies carry what a trainer needs."""

    async def propose(self, state: State, seed: int) -> Proposal:
        """Return text that is no edit."""
        return Proposal("no edit", payload=("tokens", seed))


async def test_a_round_without_an_open_proposal_carries_the_reply_that_it_is_rejected_for(tmp_path: Path) -> None:
    """A validation makes rows of such rounds, too, and they need the policy's tokens."""
    session, _ = await play(choosing(tmp_path, "rounds=3"), Quick(), Tokened())
    assert [turn.reply.text for turn in session.turns if isinstance(turn.ended, Rejection)] == ["no edit"] * 3
    assert all(isinstance(turn.reply.payload, tuple) for turn in session.turns)


async def test_k_edits_cost_k_calls_of_an_llm_and_a_resumed_search_none(tmp_path: Path) -> None:
    """What was drawn is on disk, so going on draws only for nodes that are new."""
    chosen = choosing(tmp_path, "rounds=1", "lookahead.edits=5", "redraws=0")
    first, again = Writer(), Writer()
    for model in (first, again):
        await play(chosen, Quick(), LLMProposer(model, chosen, "m", 1.0, 99))
    assert (len(first.asked), len(again.asked)) == (5, 0)


def test_a_frontier_takes_the_earlier_of_two_equal_programs() -> None:
    """Whatever the order of arrival, the lower round and ordinal stays open."""
    same = [DrawnProposal(node, ordinal, 0, "t", "m", START, "d") for node, ordinal in ((2, 0), (1, 1), (1, 0))]
    added = Frontier().add(same, {})
    assert [(each.node, each.ordinal) for each in added] == [(1, 0), (1, 1), (2, 0)]
    assert [each.reason for each in added] == ["", DUPLICATE, DUPLICATE]
    evaluated = Frontier(taken={"d"})
    assert [each.reason for each in evaluated.add(same[:1], {})] == [DUPLICATE]
    assert evaluated.open([1, 2]) == []


def test_a_proposal_costs_a_large_frontier_no_more_than_a_small_one() -> None:
    """A search of 10,000 rounds adds to some 50,000 proposals in every round."""
    frontier = Frontier()
    drawn = [DrawnProposal(number % 9999, number // 9999, 0, "t", "m", START, f"d{number}") for number in range(50_000)]
    frontier.add(drawn, {})
    began = time.process_time()
    for number in range(500):
        frontier.add([DrawnProposal(1, 10 + number, 0, "t", "m", START, f"e{number}")], {})
    assert time.process_time() - began < 0.5
