# SPDX-License-Identifier: Apache-2.0
"""Q is judged by edits of validation sessions alone, beside a constant and a surrogate, and one line says it."""

from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="needs verl: make setup")
from aflow_env.store.experience import StoredAction, validated
from aflow_env.store.store import SessionKey, Store
from aflow_env.training.trainer.server_reports import HELD_OUT, decisions, held_out_line, judged
from tests.search.quick import START
from tests.search.support import node


def play(store: Store, problem: str, step: int, *scores: int) -> None:
    """A session whose start had so many children, with so many right answers of ten."""
    key = SessionKey(problem, 1, "0", step)
    store.open_session(key, "arithmetic")
    store.record(key, node(1, None, 4, "root"))
    for place, score in enumerate(scores):
        store.record(key, node(place + 2, 1, score, f"{problem} {score}"))


def test_held_out_edits_are_those_of_validation_once_each(tmp_path: Path) -> None:
    """With the score before and after; what training sessions evaluated is the surrogate's to learn from."""
    with closing(Store(tmp_path / "run.sqlite")) as store:
        play(store, "train/a", 1, 9)
        play(store, "validate/a", 0, 7, 2)
        play(store, "validate/a", 3, 7, 5)
        found = validated(store, "arithmetic", 10)
        assert sorted(each.score for each in found) == [0.2, 0.5, 0.7]
        assert {(each.parent_digest, each.before, each.n) for each in found} == {("root", 0.4, 10)}
        assert {each.child.graph for each in found} == {f"graph of validate/a {tenths}" for tenths in (2, 5, 7)}
        assert len(validated(store, "arithmetic", 2)) == 2
        assert validated(store, "gsm8k", 10) == []


def test_decisions_are_those_of_the_latest_validation(tmp_path: Path) -> None:
    """Among several open edits; a round without a choice decides nothing."""
    with closing(Store(tmp_path / "run.sqlite")) as store:
        assert decisions(store, "arithmetic") == {}
        for step, payloads in ((0, [{"open": 8, "q": 0.9, "q_mean": 0.1, "changed": True}]), (2, PAYLOADS)):
            key = SessionKey("validate/a", 1, "0", step)
            store.open_session(key, "arithmetic")
            store.record(key, node(1, None))
            for place, payload in enumerate(payloads):
                store.record(key, node(place + 2, 1), payload)
        found = decisions(store, "arithmetic")
        assert found[f"{HELD_OUT}decision_share"] == pytest.approx(1 / 3)
        assert found[f"{HELD_OUT}chosen_over_mean"] == pytest.approx(0.15)


def test_decisions_of_steps_that_a_kill_took_back_are_left_out(tmp_path: Path) -> None:
    """A run that was at step 9 goes on from its checkpoint of step 2: lost weights decided the later rounds."""
    with closing(Store(tmp_path / "run.sqlite")) as store:
        for step, changed in ((2, False), (9, True)):
            key = SessionKey("validate/a", 1, "0", step)
            store.open_session(key, "arithmetic")
            store.record(key, node(1, None))
            store.record(key, node(2, 1), {"open": 8, "q": 0.9, "q_mean": 0.1, "changed": changed})
        assert decisions(store, "arithmetic")[f"{HELD_OUT}decision_share"] == 1.0
        store.take_back(2)
        assert decisions(store, "arithmetic")[f"{HELD_OUT}decision_share"] == 0.0


PAYLOADS = [
    {"open": 8, "q": 0.6, "q_mean": 0.4, "changed": True},
    {"open": 5, "q": 0.4, "q_mean": 0.3},
    {"open": 5},
    {"open": 1, "q": 0.4},
]


def action(parent: str, score: float) -> StoredAction:
    return StoredAction(START, parent, 0.5, 24, "", START, score)


ACTIONS = [action("a", 0.2), action("a", 0.6), action("b", 0.7), action("b", 0.9)]


def test_q_is_judged_within_parents_and_beside_others() -> None:
    """A perfect Q, and a surrogate that has the siblings the wrong way round."""
    found = judged(ACTIONS, [0.2, 0.6, 0.7, 0.9], [0.6, 0.2, 0.9, 0.7])
    assert found[f"{HELD_OUT}within"] == pytest.approx(1.0)
    assert found[f"{HELD_OUT}skill"] == pytest.approx(1.0)
    assert found[f"{HELD_OUT}skill_over_surrogate"] == pytest.approx(1.0)
    assert found[f"{HELD_OUT}surrogate_within"] == pytest.approx(-1.0)
    assert found[f"{HELD_OUT}n"] == 4


def test_undefined_figures_are_left_out() -> None:
    """A surrogate that abstains, and edits that cannot be compared."""
    found = judged([action("a", 0.2), action("b", 0.2)], [0.1, 0.4], None)
    assert not {name for name in found if "surrogate" in name or "within" in name or "skill" in name}


def test_the_end_says_how_well_q_ranks() -> None:
    """Below 0.3 it says that Q ranks too little; without edits to compare it says that."""
    good = held_out_line(judged(ACTIONS, [0.2, 0.6, 0.7, 0.9], [0.6, 0.2, 0.9, 0.7]))
    assert "Spearman 1.00 among the 4 held-out edits, the surrogate -1.00" in good
    assert "too little" not in good
    bad = held_out_line(judged(ACTIONS, [0.6, 0.2, 0.9, 0.7], None))
    assert "Q ranks too little to guide (Spearman -1.00 < 0.3)" in bad
    assert "not judged" in held_out_line({})
