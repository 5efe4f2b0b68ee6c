# SPDX-License-Identifier: Apache-2.0
"""The line that says what Q was worth in a run."""

from contextlib import closing
from pathlib import Path

from aflow_env.search.prediction.surrogate import SurrogatePredictor
from aflow_env.search.prediction.worth import Predicted, ranked, worth_of_q
from aflow_env.store.store import Store
from tests.search.quick import Quick, config, play

CHOOSING = ("lookahead.nodes=2", "lookahead.edits=6", "redraws=3", "q.kind=surrogate", "rl_weight=1", "rounds=8")


def test_edits_are_ranked_among_those_of_one_node() -> None:
    """A parent with one edit compares nothing, and a difference between parents counts for nothing."""
    first = [Predicted("a", q, score) for q, score in ((0.1, 0.2), (0.5, 0.5), (0.9, 0.8))]
    other = [Predicted("b", q, score) for q, score in ((0.8, 0.0), (0.9, 0.1))]
    assert ranked([*first, *other, Predicted("c", 0.0, 1.0)]) == "Spearman within parents 1.00 (n=5)"
    assert ranked(first[:1]) == "Spearman within parents undefined (n=0)"


async def test_the_line_counts_decisions_and_names_what_it_rests_on(tmp_path: Path) -> None:
    """Rounds in which Q abstained are counted apart; without any prediction there is no line."""
    chosen = config(tmp_path / "a", *CHOOSING, "q.fewest=4")
    await play(chosen, Quick(), predictor=SurrogatePredictor(fewest=4))
    with closing(Store(tmp_path / "a" / "run.sqlite")) as store:
        said = worth_of_q(store, chosen)
    assert said is not None
    assert said.startswith("surrogate, rests on 8 evaluations, Spearman within parents")
    assert " of 5 decisions, chosen - mean predicted +" in said
    assert "abstained in 3 of 8 rounds (with fewer than q.fewest=4 evaluations" in said
    plain = config(tmp_path / "b", "rounds=2")
    await play(plain, Quick())
    with closing(Store(tmp_path / "b" / "run.sqlite")) as store:
        assert worth_of_q(store, plain) is None
