# SPDX-License-Identifier: Apache-2.0
"""Replays on the problems that a training has not seen, and what counts as a policy's proposal."""

from collections.abc import Sequence

import pytest

from aflow_env.training.tiny_policy.lessons import DrawnState
from recipe.evidence import outcomes, table_policies, tables
from recipe.evidence.edits.players import Edited, RandomEdits
from recipe.evidence.edits.search import Rule, Search
from tests.tasks.tables import small_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> outcomes.Outcomes:
    return outcomes.outcomes(str(small_table(tmp_path_factory.mktemp("table"))))


def test_no_replay_searches_or_tests_on_a_problem_of_the_training(table: outcomes.Outcomes) -> None:
    """The training's half is the ridge's, and validate and test share the other half without overlap."""
    seen, unseen = table_policies.halves(table)
    assert sorted([*seen, *unseen]) == list(range(table.correct_WP.shape[1]))
    for seed in range(5):
        problems = table_policies.UnseenWorld(seed, table).problems
        assert list(problems["train"]) == list(seen)
        assert sorted([*problems["validate"], *problems["test"]]) == sorted(unseen)


def test_a_proposal_outside_the_table_costs_a_round_and_no_call(table: outcomes.Outcomes) -> None:
    """Even draws leave the table soon; only workflows of the table are run."""
    proposer = table_policies.Gated(table, RandomEdits(table.config.task.instructions))
    search = Search(table_policies.UnseenWorld(0, table), Rule(), seed=0, proposer=proposer)  # type: ignore[arg-type]
    nodes = search.play(30, 0)
    assert len(nodes) - 1 < search.played == 30
    assert all(table.place(node.steps) is not None for node in nodes)
    assert search.calls == sum(search.world.score(node.steps).calls for node in nodes)


class Counting:
    """A policy that counts its questions. Q is the length of the edit."""

    asked = 0

    def predict(self, state: DrawnState, edits: Sequence[Edited]) -> list[float]:
        self.asked += len(edits)
        return [len(edit.text) / 1000 for edit in edits]


def test_an_edit_is_asked_about_once_and_keeps_its_own_value(table: outcomes.Outcomes) -> None:
    """Values kept from an earlier search are those of the same edit and score, in the order of the question."""
    world, policy = table_policies.UnseenWorld(0, table), Counting()
    player = table_policies.Remembered(policy)  # type: ignore[arg-type]
    edits = tables.neighbours(table, world.start)
    state = Search(world, Rule())._state(0)  # type: ignore[arg-type]
    some = edits[::5]
    first = player.predict(state, some)
    assert player.predict(state, edits[::-1])[::-1][::5] == first == [len(edit.text) / 1000 for edit in some]
    assert policy.asked == len(edits)
