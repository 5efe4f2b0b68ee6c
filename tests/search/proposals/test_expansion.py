# SPDX-License-Identifier: Apache-2.0
"""Several expansions in flight: the tree depends on how many, and never on which is through first or on kills."""

import asyncio
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.errors import BudgetExhausted, InfrastructureError
from aflow_env.search.proposals.proposal import Proposal, RandomProposer, State
from aflow_env.store.node_rows import Node, Rejection
from tests.search.golden import converged
from tests.search.quick import Pause, Quick, config, play, shuffled

few = settings(max_examples=12)
ADD_FORMAT = '{"operation": "add", "operator": "Format", "position": 2}'


class Killed(BaseException):
    """What a process that is gone would not have survived either."""


def failing_at(place: int, error: BaseException, pause: Pause) -> Pause:
    """A pause whose `place`-th use raises."""
    used = 0

    async def pause_or_fail() -> None:
        nonlocal used
        used += 1
        mine = used
        await pause()
        if mine == place:
            raise error

    return pause_or_fail


def search(seed: int, k: int, jitter: int, *overrides: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        settings = config(Path(folder), f"seed={seed}", f"in_flight={k}", *overrides)
        return asyncio.run(play(settings, Quick(shuffled(jitter))))


@few
@given(st.integers(0, 99), st.integers(1, 5), st.integers(0, 999))
def test_the_tree_does_not_depend_on_which_expansion_is_through_first(seed: int, k: int, jitter: int) -> None:
    one, other = (search(seed, k, draw) for draw in (jitter, jitter + 1))
    assert one[1] == other[1]
    assert one[0].turns == other[0].turns


@few
@given(st.integers(0, 99), st.integers(1, 5), st.integers(0, 999), st.integers(2, 30))
def test_a_search_that_was_killed_goes_on_to_the_very_tree_of_one_that_was_not(
    seed: int, k: int, jitter: int, place: int
) -> None:
    _, whole = search(seed, k, 0)
    with tempfile.TemporaryDirectory() as folder:
        settings = config(Path(folder), f"seed={seed}", f"in_flight={k}")
        dying = Quick(failing_at(place, Killed(), shuffled(jitter)))
        with suppress(Killed):  # it may have ended before
            asyncio.run(play(settings, dying))
        session, resumed = asyncio.run(play(settings, Quick(shuffled(jitter + 1))))
    assert resumed == whole
    assert not session.tree._flying


@few
@given(st.integers(0, 99), st.integers(1, 4), st.integers(1, 11))
def test_a_search_in_two_halves_is_the_whole_search(seed: int, k: int, first: int) -> None:
    _, whole = search(seed, k, 1)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(config(Path(folder), f"seed={seed}", f"in_flight={k}", f"rounds={first}"), Quick()))
        _, halves = asyncio.run(play(config(Path(folder), f"seed={seed}", f"in_flight={k}"), Quick()))
    assert halves == whole


@pytest.mark.parametrize("k", [1, 3])
def test_a_round_knows_what_was_told_k_rounds_ago_and_what_is_in_flight(k: int) -> None:
    session, _ = search(4, k, 0)
    for turn in session.turns:
        assert turn.ended.parent <= max(1, turn.ended.round - k)
        assert len(turn.state.experience) <= max(0, turn.ended.round - k)
    assert [turn.ended.round for turn in session.turns] == list(range(2, 14))


async def test_k_expansions_are_evaluated_at_a_time_and_never_more(tmp_path: Path) -> None:
    async def pause() -> None:
        await asyncio.sleep(0.005)

    for k in (1, 2, 4):
        evaluator = Quick(pause)
        await play(config(tmp_path / str(k), f"in_flight={k}"), evaluator)
        assert evaluator.most == k


@dataclass
class Same:
    """Proposes one edit, the later the asking the sooner."""

    asked: int = 0

    async def propose(self, state: State, seed: int) -> Proposal:
        self.asked += 1
        for _ in range(40 - 10 * self.asked):
            await asyncio.sleep(0)
        return Proposal(ADD_FORMAT)


async def test_of_two_in_flight_that_come_to_one_program_the_first_is_evaluated(tmp_path: Path) -> None:
    evaluator = Quick()
    settings = config(tmp_path, "rounds=3", "in_flight=3")
    session, _ = await play(settings, evaluator, Same())
    kinds = [type(turn.ended) for turn in session.turns]
    assert kinds == [Node, Rejection, Rejection]
    assert [turn.duplicate for turn in session.turns] == [False, True, True]
    assert len(evaluator.asked) == 2, "the start and one child"


async def test_a_spent_budget_lets_those_in_flight_come_to_their_end_and_tells_what_was_before(tmp_path: Path) -> None:
    evaluator = Quick(failing_at(4, BudgetExhausted("budget.usd is reached"), shuffled(1)))
    session, _ = await play(config(tmp_path, "in_flight=3", "seed=3"), evaluator)
    assert session.stopped == "budget: budget.usd is reached"
    assert not session.tree._flying
    assert [each.ended.round for each in session.turns] == list(range(2, 2 + len(session.turns)))


async def test_a_failure_of_the_world_ends_the_session_and_no_task_is_left(tmp_path: Path) -> None:
    evaluator = Quick(failing_at(3, InfrastructureError("down"), shuffled(1)))
    with pytest.raises(InfrastructureError, match="down"):
        await play(config(tmp_path, "in_flight=4"), evaluator)
    assert len(asyncio.all_tasks()) == 1


async def test_after_an_interrupt_no_round_begins_and_those_in_flight_are_told(tmp_path: Path) -> None:
    interrupt = asyncio.Event()
    begun = 0

    @dataclass(frozen=True)
    class Interrupting(RandomProposer):
        async def propose(self, state: State, seed: int) -> Proposal:
            nonlocal begun
            begun += 1
            if begun == 5:
                interrupt.set()
            return await super().propose(state, seed)

    settings = config(tmp_path, "in_flight=3")
    session, _ = await play(settings, Quick(shuffled(2)), Interrupting(settings.task.instructions), interrupt)
    assert session.stopped == "interrupted"
    assert begun == len(session.turns) in (5, 6, 7)
    assert not session.tree._flying
    resumed, digest = await play(settings, Quick())
    assert resumed.stopped == "rounds"
    assert digest == (await play(config(tmp_path / "whole", "in_flight=3"), Quick()))[1]


@pytest.mark.parametrize(
    ("override", "said", "nodes"),
    [("stop.usd=12", "cost: stop.usd=12.0", 3), ("stop.tokens=240", "tokens: stop.tokens=240", 3)],
)
async def test_cost_and_tokens_stop_where_the_evaluations_reach_them(
    tmp_path: Path, override: str, said: str, nodes: int
) -> None:
    """An evaluation of Quick's is 8 problems of half a dollar and ten tokens, cached or not."""
    session, digest = await play(config(tmp_path, "seed=3", override), Quick())
    assert session.stopped == f"{said} is reached"
    assert len(session.tree) == nodes
    again, same = await play(config(tmp_path, "seed=3", override), Quick())
    assert (again.stopped, same) == (session.stopped, digest)


async def test_a_search_that_converged_says_so_and_stays_so(tmp_path: Path) -> None:
    """After five rounds that did not enter the top three; a resumed search sees the same."""
    never = config(tmp_path / "never", "seed=3", "rounds=30")
    early = config(tmp_path / "early", "seed=3", "rounds=30", "convergence.consecutive_rounds=5")
    whole, _ = await play(never, Quick())
    session, digest = await play(early, Quick())
    assert (whole.stopped, session.stopped) == ("rounds", "converged")
    verdicts = converged([whole.tree.node(each.round).score] for each in session.tree)
    assert verdicts == [False] * (len(session.tree) - 1) + [True]
    again, same = await play(early, Quick())
    assert (again.stopped, same) == ("converged", digest)
