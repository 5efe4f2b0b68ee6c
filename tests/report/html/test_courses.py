# SPDX-License-Identifier: Apache-2.0
"""Score against executor calls: searches are read at the same numbers of calls, test scores where they end."""

from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="needs the extra report")
from aflow_env.report.html.courses import band, spending_curves
from aflow_env.report.numbers import best_by_calls
from tests.report.runs import round_, run, trained, two_groups


def test_a_curve_is_the_best_so_far_by_the_calls_that_were_made() -> None:
    """A rejected round costs none; a round that is worse keeps the best."""
    rounds = (round_(1, None, 0.2, calls=8), round_(2, 1, None, calls=0), round_(3, 1, 0.5, calls=40))
    searched = replace(run(0, 0), rounds=(*rounds, round_(4, 1, 0.3, calls=2)))
    assert best_by_calls(searched) == [(8, 0.2), (8, 0.2), (48, 0.5), (50, 0.5)]
    assert best_by_calls(trained(searched)) == []


def test_curves_are_averaged_where_all_have_scored_their_start() -> None:
    """At even numbers of calls; a search that ended earlier keeps its best."""
    found = dict(band([[(10, 0.2), (20, 0.4)], [(12, 0.4), (36, 0.8)]]))
    assert min(found) == 12
    assert max(found) == 36
    assert found[12].value == pytest.approx(0.3)
    assert found[20].value == pytest.approx(0.4)
    assert found[36].value == pytest.approx(0.6)


def test_the_figure_has_each_weights_curve_and_its_test_score_at_the_end() -> None:
    """The table beside the plot holds both; trainings are left out."""
    runs = two_groups([0.1, 0.2])
    groups = {"w=0": [each for each in runs if each.config["rl_weight"] == 0], "w=0.5": runs[1::2]}
    found = spending_curves(groups)
    assert found is not None
    assert ("w=0", "16", "test", "0.400") in {tuple(row[:4]) for row in found.rows}
    assert ("w=0.5", "16", "best so far", "0.500") in {tuple(row[:4]) for row in found.rows}
    assert "w=0.5: n=2" in found.caption
    assert spending_curves({"w=0": [trained(each) for each in runs]}) is None
