# SPDX-License-Identifier: Apache-2.0
"""The loop, with real parts: simulated executor, sandbox, store. Only the proposer and the predictor are scripted."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.search.assemble import Assembly
from aflow_env.search.prediction.predict import ActionValue, Candidate
from aflow_env.search.proposals.proposal import Proposal, Proposer, State
from aflow_env.search.rounds import Search
from aflow_env.search.session import SearchProblem, SearchSession, session_seed
from aflow_env.store.node_rows import Rejection
from aflow_env.store.store import SessionKey
from aflow_env.workflow.steps import to_steps
from tests.search import quick

ADD_FORMAT = '{"operation": "add", "operator": "Format", "position": 2}'
FROM_START = ("selection.c_ucb=0", "selection.lambda_=0", "selection.alpha=100")
ADD_REVIEW = '{"operation": "add", "operator": "Review", "position": 2}'


@dataclass
class Script:
    """Proposes the given texts in turn, and remembers the states that it saw."""

    texts: Sequence[str]
    seen: list[State] = field(default_factory=list)

    async def propose(self, state: State, seed: int) -> Proposal:
        self.seen.append(state)
        return Proposal(self.texts[(len(self.seen) - 1) % len(self.texts)])


@dataclass
class Oracle:
    """Predicts `of[how many steps the edit leads to]`."""

    of: dict[int, float]
    asked: list[Candidate] = field(default_factory=list)

    async def predict(self, state: State, edits: Sequence[Candidate]) -> list[ActionValue]:
        self.asked += edits
        return [ActionValue(self.of.get(len(to_steps(edit.workflow)), 0.0)) for edit in edits]


ONE = ("lookahead.nodes=1", "lookahead.edits=1", "redraws=0")


def config(folder: Path, *overrides: str) -> AflowConfig:
    given = ("rl_weight=0", "q.kind=none", "task.validate_size=4", "rounds=4", f"run_dir={folder}", *ONE, *overrides)
    return load(given)


def play(
    config: AflowConfig, proposer: Proposer | None = None, predictor: Oracle | None = None
) -> tuple[SearchSession, str]:
    """One session, and the digest of its store."""

    async def run() -> tuple[SearchSession, str]:
        assembly = await Assembly.open(config)
        try:
            search = assembly.search(proposer, predictor, "validate")
            problem = SearchProblem(SessionKey("test", config.seed), session_seed(config.seed), assembly.start())
            return await search.play(problem), assembly.store.digest()
        finally:
            await assembly.aclose()

    return asyncio.run(run())


def test_same_seed_same_tree_byte_for_byte(tmp_path: Path) -> None:
    _, first = play(config(tmp_path / "a", "proposer=random", "seed=7"))
    _, again = play(config(tmp_path / "b", "proposer=random", "seed=7"))
    _, other = play(config(tmp_path / "c", "proposer=random", "seed=8"))
    assert first == again != other


def test_a_search_in_two_halves_is_the_whole_search(tmp_path: Path) -> None:
    """Stopping after two rounds and starting again tells the same tree as four rounds in one go."""
    _, whole = play(config(tmp_path / "whole", "proposer=random", "seed=3"))
    play(config(tmp_path / "halves", "proposer=random", "seed=3", "rounds=2"))
    session, halves = play(config(tmp_path / "halves", "proposer=random", "seed=3"))
    assert halves == whole
    assert len(session.turns) == 2, "the stored rounds are not played again"


def test_a_rejected_action_is_told_and_costs_a_round_but_no_evaluation(tmp_path: Path) -> None:
    script = Script(["nonsense", ADD_FORMAT])
    session, _ = play(config(tmp_path, "rounds=2"), script)
    first, second = session.turns
    assert isinstance(first.ended, Rejection)
    assert "JSON" in first.ended.reason
    assert second.node is not None
    assert session.tree.played == 2
    assert "nonsense" in script.seen[1].experience[0].modification


def test_the_same_change_twice_is_a_duplicate(tmp_path: Path) -> None:
    session, _ = play(config(tmp_path, "rounds=2", *FROM_START), Script([ADD_FORMAT]))
    assert [turn.duplicate for turn in session.turns] == [False, True]


def test_a_rejected_proposal_is_drawn_again_and_its_round_is_not_lost(tmp_path: Path) -> None:
    script = Script([ADD_FORMAT, "no edit", ADD_FORMAT, ADD_REVIEW])
    session, _ = play(config(tmp_path, "rounds=2", "redraws=2", *FROM_START), script)
    assert [turn.reply.text for turn in session.turns] == [ADD_FORMAT, ADD_REVIEW]
    assert not any(isinstance(turn.ended, Rejection) for turn in session.turns)


def test_the_last_of_a_rounds_draws_is_what_was_rejected(tmp_path: Path) -> None:
    script = Script(["no edit", ADD_FORMAT, ADD_FORMAT, ADD_FORMAT, ADD_FORMAT])
    session, _ = play(config(tmp_path, "rounds=2", "redraws=2", *FROM_START), script)
    assert [isinstance(turn.ended, Rejection) for turn in session.turns] == [False, True]
    assert session.turns[1].duplicate
    assert len(script.seen) == 5


def test_draws_of_a_round_differ_and_repeat_with_the_seed(tmp_path: Path) -> None:
    """With draws to spare every round of a search comes to a program."""
    keys = ("proposer=random", "rounds=8", "redraws=20", "in_flight=3")
    session, first = play(config(tmp_path / "a", *keys))
    _, again = play(config(tmp_path / "b", *keys))
    assert first == again
    assert not any(isinstance(turn.ended, Rejection) for turn in session.turns)


def test_a_drawn_edit_is_predicted_before_it_is_run_and_its_target_is_its_own_score(tmp_path: Path) -> None:
    """With one edit of one node a policy is asked about the edit, for training and metrics."""
    oracle = Oracle({2: 0.75, 3: 0.25})
    session, _ = play(config(tmp_path, "q.kind=policy"), Script([ADD_FORMAT, "nonsense", ADD_REVIEW]), oracle)
    assert [turn.prediction.q if turn.prediction else None for turn in session.turns][:2] == [0.75, None]
    assert [each.text for each in oracle.asked[:1]] == [ADD_FORMAT]
    for turn in session.turns:
        assert turn.q_target == (turn.node.score if turn.node else None)
        assert (turn.candidate is None) == (turn.node is None)


def test_weight_without_a_predictor_is_an_error_before_anything_is_spent(tmp_path: Path) -> None:
    """A silent Q = 0 is the failure that this project exists to end."""
    with pytest.raises(ConfigError, match=r"rl_weight=0\.5 needs a policy"):
        play(config(tmp_path, "rl_weight=0.5", "q.kind=policy", "lookahead.edits=2"), Script([ADD_FORMAT]))


def test_weight_without_q_is_an_error_in_the_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rl_weight=0\.5 with q\.kind=none"):
        config(tmp_path, "rl_weight=0.5", "lookahead.edits=2")


def test_a_weight_that_has_nothing_to_choose_is_an_error_that_names_the_fix(tmp_path: Path) -> None:
    """With one edit of one node Q could decide nothing."""
    with pytest.raises(ConfigError, match=r"rl_weight=0\.5 with lookahead\.nodes=1.*Set lookahead\.edits=8"):
        config(tmp_path, "rl_weight=0.5", "q.kind=surrogate")


def test_an_exhausted_budget_ends_the_session_cleanly(tmp_path: Path) -> None:
    session, _ = play(config(tmp_path, "proposer=random", "rounds=8", "budget.calls=9"))
    assert session.stopped.startswith("budget: ")
    assert "budget.calls is reached" in session.stopped
    assert len(session.tree) >= 1


def test_state_shows_failures_but_never_more_than_asked(tmp_path: Path) -> None:
    script = Script([ADD_FORMAT])
    play(config(tmp_path, "rounds=1", "failed_cases=1"), script)
    assert len(script.seen[0].failures) == 1
    assert script.seen[0].failures[0].expected


def test_a_state_on_a_table_shows_no_failures(tmp_path: Path) -> None:
    """A table has ids in place of problems and no answers, which a proposer would take for something to use."""
    script = Script([ADD_FORMAT])
    keys = ("table=mbpp", "rl_weight=0", "q.kind=none", "rounds=1", "failed_cases=2", f"run_dir={tmp_path}", *ONE)
    play(load(keys), script)
    assert script.seen[0].score < 1
    assert script.seen[0].failures == ()


async def test_failed_cases_are_drawn_anew_for_each_expansion_and_the_same_for_the_same_visit(tmp_path: Path) -> None:
    shown = []
    for folder in ("a", "b"):
        script = Script(["nonsense"])
        await quick.play(quick.config(tmp_path / folder, "failed_cases=2"), quick.Quick(), script)
        shown.append([tuple(failure.problem for failure in state.failures) for state in script.seen])
    assert shown[0] == shown[1]
    assert all(len(set(each)) == 2 for each in shown[0])
    assert len(set(shown[0])) > 3, "twelve visits of the start, which has eight problems"


def test_search_is_plain_data_and_can_be_varied(tmp_path: Path) -> None:
    """`replace` on a Search checks again, so no copy of it can lose its predictor."""

    async def run() -> None:
        assembly = await Assembly.open(config(tmp_path))
        try:
            search = assembly.search(Script([ADD_FORMAT]), None, "validate")
            with pytest.raises(ConfigError):
                replace(search, config=search.config.model_copy(update={"rl_weight": 0.5}))
            assert isinstance(search, Search)
        finally:
            await assembly.aclose()

    asyncio.run(run())
