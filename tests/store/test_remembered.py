# SPDX-License-Identifier: Apache-2.0
"""What Q remembers of earlier steps, and the weight that Q earns: both the same after a kill, neither from chance."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.search.assemble import check_parts
from aflow_env.search.belief import shrink
from aflow_env.search.proposal import Belief, Proposer, RandomProposer, Reply, State
from aflow_env.search.rounds import Search, SearchProblem, Session, session_seed
from aflow_env.search.tree import Tree
from aflow_env.store.remembered import open_memory
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from tests.search.quick import PROBLEMS, START, Quick, by_rule, config

TASK = Arithmetic.spec.name
GUIDED = ("rl_weight=1", "q.kind=digits", "rounds=30")


class Half:
    """Believes 1/2 of everything."""

    async def believe(self, states: Sequence[State]) -> list[Belief]:
        return [Belief(0.5, 1.0) for _ in states]


async def play(
    config: AflowConfig, step: int = 0, session: str = "0", proposer: Proposer | None = None, problem: str = "quick"
) -> Session:
    with closing(Store(Path(config.run_dir) / "run.sqlite")) as store:
        evaluator = Quick()
        evaluator.keep_in(store)
        memory = open_memory(config, TASK, store)
        chosen, task = proposer or RandomProposer(config.instructions), Arithmetic(config.task)
        search = Search(config, task, PROBLEMS, evaluator, store, chosen, by_rule, Half(), memory=memory)
        key = SessionKey(problem, session=session, step=step)
        return await search.play(SearchProblem(key, session_seed(config.seed, step, session), START))


def best_children(tree: Tree, digest: str) -> list[float]:
    nodes = [node for node in tree if node.digest == digest]
    return [max(child.score for child in tree.children(node.round)) for node in nodes if tree.children(node.round)]


async def test_the_best_children_of_earlier_steps_are_remembered_and_no_others(tmp_path: Path) -> None:
    settings = config(tmp_path, *GUIDED, "q.memory=3")
    earlier = [await play(settings, step, name) for step in (1, 2) for name in ("0", "1")]
    beside = await play(settings, 3)
    with closing(Store(tmp_path / "run.sqlite")) as store:
        memory = open_memory(settings, TASK, store)
        assert memory is not None
        digest = earlier[0].tree.node(1).digest
        expected = [found for session in reversed(earlier) for found in best_children(session.tree, digest)]
        assert await memory.best_children(digest, 3) == tuple(expected[:3]), "the latest first"
        assert await memory.best_children(digest, 1) == ()
        assert await memory.best_children("unknown", 3) == ()
    turn = beside.turns[0]
    assert turn.q == pytest.approx(shrink(0.5, expected[:3], settings.q.prior_strength)), "and it is data in Q"


async def test_what_validation_found_is_not_remembered(tmp_path: Path) -> None:
    settings = config(tmp_path, *GUIDED, "q.memory=3")
    session = await play(settings, 1, problem="validate/quick")
    with closing(Store(tmp_path / "run.sqlite")) as store:
        memory = open_memory(settings, TASK, store)
        assert memory is not None
        assert await memory.best_children(session.tree.node(1).digest, 2) == ()


async def test_another_run_remembers_for_a_search_of_its_own(tmp_path: Path) -> None:
    trained = await play(config(tmp_path / "training", *GUIDED), step=7)
    guided = config(tmp_path / "search", *GUIDED, "q.memory=8", f"q.memory_run={tmp_path / 'training'}")
    first = (await play(guided)).turns[0]
    known = best_children(trained.tree, trained.tree.node(1).digest)
    assert first.q == pytest.approx(shrink(0.5, known, guided.q.prior_strength))


class Nonsense:
    """Proposes what the gate rejects."""

    async def propose(self, state: State, seed: int) -> Reply:
        return Reply("nonsense")


async def test_expansions_that_came_to_nothing_lower_q_where_they_count(tmp_path: Path) -> None:
    for counts, expected in ((False, 0.5), (True, 0.5 * 4 / (4 + 29))):
        settings = config(tmp_path / str(counts), *GUIDED, f"q.count_rejected={str(counts).lower()}")
        last = (await play(settings, proposer=Nonsense())).turns[-1]
        assert last.q == pytest.approx(expected)


async def test_a_weight_that_is_earned_is_the_same_after_a_kill(tmp_path: Path) -> None:
    """In a search of two halves the second knows what Q said in the first."""
    earned = (*GUIDED, "rl_weight_schedule=skill", "q.prior_strength=1")
    whole = await play(config(tmp_path / "whole", *earned))
    await play(config(tmp_path / "halves", *earned, "rounds=19"))
    second = await play(config(tmp_path / "halves", *earned))
    weights = [turn.selection.w for turn in whole.turns]
    assert weights[:16] == [0.0] * 16, "nothing is proved yet"
    assert [turn.selection.w for turn in second.turns] == weights[19:]
    assert [node.digest for node in second.tree] == [node.digest for node in whole.tree]


def test_a_memory_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"q\.memory=-1"):
        config(tmp_path, "q.memory=-1")
    with pytest.raises(ConfigError, match="memory_run=runs with memory=0"):
        config(tmp_path, "q.kind=digits", "q.memory_run=runs")
    elsewhere = config(tmp_path, "q.kind=digits", "q.memory=4", f"q.memory_run={tmp_path}")
    with (
        closing(Store(tmp_path / "own.sqlite")) as own,
        pytest.raises(ConfigError, match=r"q\.memory_run=.*no run\.sqlite"),
    ):
        open_memory(elsewhere, "arithmetic", own)
    with pytest.raises(ConfigError, match=r"q\.memory_run=.*: a training remembers its own earlier steps; leave"):
        check_parts(elsewhere)
