# SPDX-License-Identifier: Apache-2.0
"""`tree=group`: one search, each session its share of the turns, and rewards that a sibling's find does not distort."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from aflow_env.errors import InfrastructureError
from aflow_env.search.proposal import RandomProposer, Reply, State
from aflow_env.search.rounds import Search, SearchProblem, Session, session_seed
from aflow_env.store.store import Store
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.training.rollout.group import Groups, play_together, together
from aflow_env.training.rollout.policy import Tokens
from aflow_env.training.rollout.rollout_rows import edit_rows, session_summary
from tests.search.quick import KEY, PROBLEMS, START, Quick, by_rule, config, shuffled

SIZE = 3
ROUNDS = 4


async def sessions(
    folder: Path,
    jitter: int,
    order: tuple[int, ...] = (0, 1, 2),
    proposer: type[RandomProposer] = RandomProposer,
    overrides: tuple[str, ...] = (),
) -> tuple[list[Session], str, int]:
    """Three sessions of one group, which come in this order; the store's digest; how many searches were played."""
    settings = config(folder, f"rounds={ROUNDS}", "seed=5", *overrides)
    played = 0
    with closing(Store(folder / "run.sqlite")) as store:
        evaluator = Quick(shuffled(jitter))
        evaluator.keep_in(store)
        chosen = proposer(settings.instructions)
        search = Search(settings, Arithmetic(settings.task), PROBLEMS, evaluator, store, chosen, by_rule)

        async def play() -> Session:
            nonlocal played
            played += 1
            return await play_together(search, SIZE, SearchProblem(KEY, session_seed(5), START))

        groups = Groups()
        parts = await asyncio.gather(*(groups.part("g", number, SIZE, play) for number in order))
        assert groups == Groups(), "nothing is kept of a group that is through"
        return (
            [part for _, part in sorted(zip(order, parts, strict=True), key=lambda each: each[0])],
            store.digest(),
            played,
        )


async def test_sessions_grow_one_tree_and_each_has_its_own_rounds(tmp_path: Path) -> None:
    parts, _, played = await sessions(tmp_path, 1)
    assert played == 1
    assert [[turn.ended.round for turn in part.turns] for part in parts] == [
        [2, 5, 8, 11],
        [3, 6, 9, 12],
        [4, 7, 10, 13],
    ]
    assert all(part.tree is parts[0].tree for part in parts)
    assert sorted(node.round for part in parts for node in part.nodes) == list(parts[0].tree.rounds())


async def test_the_tree_depends_neither_on_who_comes_first_nor_on_who_is_through_first(tmp_path: Path) -> None:
    one = await sessions(tmp_path / "a", 1)
    other = await sessions(tmp_path / "b", 2, order=(2, 0, 1))
    assert one[1] == other[1]
    assert [part.turns for part in one[0]] == [part.turns for part in other[0]]


async def test_each_turn_knows_the_best_that_was_told_when_it_was_selected(tmp_path: Path) -> None:
    parts, _, _ = await sessions(tmp_path, 3)
    tree = parts[0].tree
    for part in parts:
        for turn in part.turns:
            told = [node.score for node in tree if node.round <= max(1, turn.ended.round - SIZE)]
            assert turn.best == max(told)


@pytest.mark.parametrize("override", ["stop.usd=12", "stop.tokens=240"])
async def test_a_group_may_spend_what_its_sessions_may(tmp_path: Path, override: str) -> None:
    """A workflow costs 4 USD and 80 tokens, so a session of its own ends at three of them, the start included."""
    parts, _, _ = await sessions(tmp_path, 1, overrides=(override,))
    assert parts[0].stopped.split(":")[0] in ("cost", "tokens")
    assert len(parts[0].tree) >= 3 * SIZE


def test_what_is_of_the_clock_or_of_the_tree_is_one_for_the_group(tmp_path: Path) -> None:
    settings = config(tmp_path, "stop.seconds=9", "stop.score=0.5", "convergence.enabled=true")
    many = together(settings, SIZE)
    assert (many.stop, many.convergence) == (settings.stop, settings.convergence)
    assert many.rounds == SIZE * settings.rounds


async def test_a_failure_is_that_of_every_session_and_the_next_group_begins_anew() -> None:
    groups, played = Groups(), 0

    async def play() -> Session:
        nonlocal played
        played += 1
        await asyncio.sleep(0)
        raise InfrastructureError("down")

    for _ in range(2):
        came = await asyncio.gather(*(groups.part("g", i, SIZE, play) for i in range(SIZE)), return_exceptions=True)
        assert [str(each) for each in came] == ["down"] * SIZE
    assert played == 2


async def test_a_session_that_is_cancelled_takes_nobody_with_it() -> None:
    groups, go = Groups(), asyncio.Event()

    async def play() -> Session:
        await go.wait()
        return Session()

    first, second = (asyncio.ensure_future(groups.part("g", i, 2, play)) for i in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    go.set()
    assert (await second).part == (1, 2)
    assert groups == Groups()


class WithTokens(RandomProposer):
    """Replies as the trained policy does: with what it wrote as tokens."""

    async def propose(self, state: State, seed: int) -> Reply:
        said = await super().propose(state, seed)
        return Reply(said.text, Tokens((1,), (2,), (0.0,), 0))


async def test_a_step_is_paid_for_what_it_adds_to_what_it_could_know(tmp_path: Path) -> None:
    parts, _, _ = await sessions(tmp_path, 1, proposer=WithTokens)
    settings = config(tmp_path)
    summaries = [session_summary(part, settings) for part in parts]
    for part in parts:
        for turn, row in zip(part.turns, edit_rows(part, settings), strict=True):
            gained = max(0.0, turn.node.score - turn.best) if turn.node else -settings.reward.invalid_penalty
            assert row.step_reward == pytest.approx(gained)
            assert row.state == turn.state.workflow.text, "what anchor=similarity compares"
    assert any(row.step_reward > 0 for part in parts for row in edit_rows(part, settings))
    assert sum(each["nodes"] for each in summaries) == len(parts[0].tree), "no node is counted twice"
    assert len({each["best_score"] for each in summaries}) == 1


def test_a_session_of_its_own_has_all_nodes_of_its_tree() -> None:
    assert Session().nodes == []
