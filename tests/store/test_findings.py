# SPDX-License-Identifier: Apache-2.0
"""What a run's store says was best: on validate problems where it can, and what training found is never forgotten."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aflow_env.store.findings import best_node, failed_cases, leaders
from aflow_env.store.store import SessionKey, Store
from aflow_env.workflow.program import Workflow
from tests.search.support import EXECUTOR, node

TASK = "arithmetic"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "run.sqlite")
    yield opened
    opened.close()


def session(store: Store, problem: str, **correct: int) -> None:
    """A session whose nodes are these workflows, each with so many of ten problems right."""
    key = SessionKey(problem)
    store.open_session(key, TASK)
    for place, (digest, right) in enumerate(correct.items()):
        told = node(place + 1, place or None, right, digest)
        store.put_many(digest, EXECUTOR, told.evaluation.results)
        store.record(key, told)


def names(workflows: list[Workflow]) -> list[str]:
    return [workflow.graph.removeprefix("graph of ") for workflow in workflows]


def test_what_led_in_training_is_a_candidate_beside_what_led_in_validation(store: Store) -> None:
    """Validation meets few of the workflows of a training run; the closing report evaluates both kinds and chooses."""
    session(store, "validate/a", start=3, met=5, worse=1)
    session(store, "train/a", start=3, found=9, met=9)
    session(store, "train/b", start=2, found=9)
    assert names(leaders(store, TASK, 2)) == ["met", "start", "found"]
    assert names(leaders(store, TASK, 3)) == ["met", "start", "worse", "found"], "none comes twice"


def test_one_lucky_draw_of_training_problems_does_not_lead(store: Store) -> None:
    session(store, "train/a", start=3, steady=9, lucky=10)
    for name in "bcd":
        session(store, f"train/{name}", start=3, steady=9)
    assert names(leaders(store, TASK, 1)) == ["steady"]
    found = best_node(store)
    assert found is not None
    assert found["digest"] == "steady", "nothing was validated, so training says which is best"


def test_validate_scores_are_not_mixed_with_training_scores(store: Store) -> None:
    session(store, "validate/a", easy=6, hard=7)
    session(store, "train/a", easy=10, hard=1)
    found = best_node(store)
    assert found is not None
    assert found["digest"] == "hard"


def test_failed_cases_are_of_problems_that_nodes_were_scored_on(store: Store) -> None:
    """The closing report runs the best workflow on test problems: its failures there are shown to nobody."""
    session(store, "validate/a", start=7, met=8)
    hidden = node(1, None, 0, "met").evaluation.results[0]
    store.put_many("met", EXECUTOR, [hidden._replace(problem_id="a test problem", problem_digest="t")])
    found = failed_cases(store, 5)
    assert {digest: [case["problem_id"] for case in cases] for digest, cases in found.items()} == {
        "start": ["p7", "p8", "p9"],
        "met": ["p8", "p9"],
    }
    assert failed_cases(store, 1, "met") == {"met": found["met"][:1]}
    assert found["met"][0] | {"feedback": "", "trace": ""} == found["met"][0]
