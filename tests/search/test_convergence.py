# SPDX-License-Identifier: Apache-2.0
"""AFlow's early stop: against the definition, and told round by round."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.search.session import Stopper
from aflow_env.search.tree import Tree
from tests.search.golden import converged
from tests.search.quick import config
from tests.search.support import examples, node

scores = st.sampled_from([0.0, 0.2, 0.5, 0.6, 0.7])
some_rounds = st.lists(st.lists(scores, min_size=1, max_size=3), max_size=25)


def by_definition(rounds: list[list[float]], top_k: int, consecutive: int) -> bool:
    """AFlow's rule (references, section 1.3) with its z = 0, as it is stated: every y_i from scratch."""
    if len(rounds) < top_k + 1:
        return False
    quiet = 0
    trace: list[float] = []
    for i in range(len(rounds)):
        ranked = sorted(range(i + 1), key=lambda j: (-np.mean(rounds[j]), -j))[:top_k]
        y = float(np.mean([np.mean(rounds[j]) for j in ranked]))
        if trace:
            quiet = quiet + 1 if abs(y - trace[-1]) <= 0 else 0
            if quiet >= consecutive:
                return True
        trace.append(y)
    return False


@examples
@given(some_rounds, st.integers(1, 6), st.integers(1, 6))
def test_the_verdict_is_the_definitions_after_every_round(
    rounds: list[list[float]], top_k: int, consecutive: int
) -> None:
    expected = [by_definition(rounds[: count + 1], top_k, consecutive) for count in range(len(rounds))]
    assert converged(rounds, top_k, consecutive) == expected


def test_five_rounds_outside_the_top_three_converge_and_a_new_best_starts_over() -> None:
    good = [[0.9], [0.8], [0.7]]
    assert converged([*good, *[[0.1]] * 5]) == [False] * 7 + [True]
    assert not any(converged([*good, *[[0.1]] * 4, [0.95], *[[0.1]] * 4]))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_than_four_scored_rounds_never_converge(count: int) -> None:
    assert not any(converged([[0.5]] * count, consecutive=1))


def test_a_search_stops_once_no_round_enters_the_best_for_so_long(tmp_path: Path) -> None:
    """Three rounds below the best, and the fourth would be one too many."""
    stopper = Stopper(config(tmp_path, "convergence.top_k=1", "convergence.consecutive_rounds=3"))
    tree, said = Tree(), []
    for round_, correct in enumerate((5, 4, 3, 2), 1):
        told = node(round_, None if round_ == 1 else 1, correct)
        tree.record(told)
        stopper.record(told)
        said.append(stopper.why(tree))
    assert said == ["", "", "", "converged"]
