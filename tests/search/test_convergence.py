# SPDX-License-Identifier: Apache-2.0
"""AFlow's early stop: against the definition, and told round by round."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.evaluation.results import summarise
from aflow_env.search.stopping import NOT_YET, Convergence, Stopper, converged, repeat_scores
from aflow_env.search.tree import Tree
from aflow_env.store.node_rows import Node
from tests.search.quick import config
from tests.search.support import EXECUTOR, examples, node, results

scores = st.sampled_from([0.0, 0.2, 0.5, 0.6, 0.7])
some_rounds = st.lists(st.lists(scores, min_size=1, max_size=3), max_size=25)


def by_definition(
    rounds: list[list[float]], top_k: int, z: float, consecutive: int
) -> tuple[bool, int | None, int | None]:
    """AFlow's rule (references, section 1.3) as it is stated: every y_i and sigma_i from scratch."""
    if len(rounds) < top_k + 1:
        return (False, None, None)
    quiet = 0
    trace: list[tuple[float, float]] = []
    for i in range(len(rounds)):
        ranked = sorted(range(i + 1), key=lambda j: (-np.mean(rounds[j]), -j))[:top_k]
        y = float(np.mean([np.mean(rounds[j]) for j in ranked]))
        sigma = float(np.sqrt(np.sum([np.std(rounds[j]) ** 2 for j in ranked]) / top_k**2))
        if trace:
            before, noise = trace[-1][0], np.sqrt(sigma**2 + trace[-1][1] ** 2)
            quiet = quiet + 1 if abs(y - before) <= z * noise else 0
            if quiet >= consecutive:
                return (True, i - consecutive + 1, i)
        trace.append((y, sigma))
    return (False, None, None)


@examples
@given(some_rounds, st.integers(1, 6), st.sampled_from([0.0, 0.5, 1.96]), st.integers(1, 6))
def test_the_verdict_is_the_definitions(rounds: list[list[float]], top_k: int, z: float, consecutive: int) -> None:
    assert tuple(converged(rounds, top_k, z, consecutive)) == by_definition(rounds, top_k, z, consecutive)


@examples
@given(some_rounds)
def test_telling_round_by_round_says_the_same_as_asking_at_the_end(rounds: list[list[float]]) -> None:
    rule = Convergence()
    for count, repeats in enumerate(rounds, 1):
        assert rule.record(repeats) == converged(rounds[:count])


def test_five_rounds_outside_the_top_three_converge_and_a_new_best_starts_over() -> None:
    good = [[0.9], [0.8], [0.7]]
    assert converged([*good, *[[0.1]] * 4]) == NOT_YET
    assert converged([*good, *[[0.1]] * 5]) == (True, 3, 7)
    assert converged([*good, *[[0.1]] * 4, [0.95], *[[0.1]] * 4]) == NOT_YET


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_than_four_scored_rounds_never_converge(count: int) -> None:
    assert converged([[0.5]] * count, consecutive=1) == NOT_YET


def repeated(round_: int, *correct: int) -> Node:
    """A node whose repeats have these numbers of right answers."""
    runs = [run._replace(repeat=k) for k, right in enumerate(correct) for run in results(right)]
    plain = node(round_, None if round_ == 1 else 1)
    return replace(plain, evaluation=summarise(plain.digest, EXECUTOR, runs))


@pytest.mark.parametrize(("z", "stops"), [(0.0, False), (1.0, True)])
def test_a_search_stands_still_by_the_spread_of_its_repeats(tmp_path: Path, z: float, stops: bool) -> None:
    """Scores that rise by less than the repeats differ are no progress for z = 1, and progress for z = 0."""
    rule = ("convergence.enabled=true", "convergence.top_k=1", "convergence.consecutive_rounds=3")
    stopper = Stopper(config(tmp_path, *rule, f"convergence.z={z}", "repeats=2"))
    tree = Tree()
    for round_ in range(1, 5):
        tree.begin(1) if round_ > 1 else None
        tree.record(told := repeated(round_, 2, 4 + round_))
        stopper.record(told)
    assert (stopper.why(tree) == "converged") == stops


def test_a_workflow_without_runs_has_one_score() -> None:
    """An imported round: AFlow's figure and nothing below it."""
    assert repeat_scores(replace(node(1, None).evaluation, results=())) == [0.5]
    assert repeat_scores(repeated(1, 2, 5).evaluation) == [0.2, 0.5]
