# SPDX-License-Identifier: Apache-2.0
"""What a run's store says was best: on validate problems where it can, and what training found is never forgotten.

The front of score against cost: who is on it, and that an unknown price is never 0.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aflow_env.evaluation.results import COUNTED, Outcome, ProblemResult, summarise, usd_a_problem
from aflow_env.report import numbers
from aflow_env.report.html.tree_page import tree_data
from aflow_env.report.runs import read_run
from aflow_env.search.tree import Tree
from aflow_env.store.database import USD_A_PROBLEM
from aflow_env.store.findings import best_node, failed_cases, front, front_lines, leaders, pareto, workflows
from aflow_env.store.store import SessionKey, Store
from aflow_env.workflow.program import Workflow
from tests.search.support import EXECUTOR, examples, node, results

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


POINTS = {"cheap": (4, 0.1), "dear": (9, 2.0), "beaten": (6, 3.0), "middle": (7, 0.5)}
"""Problems of ten that are solved, and USD of the ten."""


@pytest.fixture
def priced(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "run.sqlite")) as opened:
        key = SessionKey("validate/a")
        opened.open_session(key, "task")
        for place, (name, (right, usd)) in enumerate(POINTS.items()):
            found = node(place + 1, place or None, right, name)
            opened.put_many(name, EXECUTOR, found.evaluation.results)
            opened.record(key, replace(found, evaluation=replace(found.evaluation, usd_a_problem=usd / 10)))
        yield opened


def test_the_front_holds_those_that_no_other_beats_in_both(priced: Store) -> None:
    """The cheapest first, with USD of a problem; one that costs more and scores less is not there."""
    found = front(priced)
    assert [each["digest"] for each in found] == ["cheap", "middle", "dear"]
    assert [each["usd_a_problem"] for each in found] == pytest.approx([0.01, 0.05, 0.2])
    assert front_lines(found)[0] == "0.400  0.010000 USD a problem  cheap"
    tree = tree_data(priced)
    assert [digest for digest, on in zip(tree["digest"], tree["front"], strict=True) if on] == [
        "cheap",
        "dear",
        "middle",
    ]
    assert front_lines(found, 1) == ["0.900  0.200000 USD a problem  dear"]


@pytest.mark.parametrize("names", [["dear"], list(POINTS)])
def test_a_workflow_of_unknown_price_has_no_place(priced: Store, names: list[str]) -> None:
    """It is left out, and where all are unknown the words say so."""
    with closing(sqlite3.connect(priced.path)) as database, database:
        for name in names:
            database.execute("UPDATE nodes SET usd_a_problem = NULL WHERE digest = ?", (name,))
    found = front(priced)
    assert not {each["digest"] for each in found} & set(names)
    assert sum(each["usd_a_problem"] is None for each in workflows(priced)) == len(names)
    assert front_lines(found)[0].startswith("unknown") == (len(names) == len(POINTS))


@pytest.mark.parametrize(("weight", "best"), [(0.0, "dear"), (2.0, "middle"), (20.0, "cheap")])
def test_the_weight_of_cost_decides_who_leads(priced: Store, weight: float, best: str) -> None:
    """score - weight * USD a problem, by the weight that the run keeps."""
    priced.set_meta("config", f'{{"selection": {{"cost_weight": {weight}}}}}')
    assert leaders(priced, "task", 1)[0].graph == f"graph of {best}"
    found = best_node(priced)
    assert found is not None
    assert found["digest"] == best


LOST = st.lists(
    st.tuples(
        st.sampled_from(sorted(set(Outcome) - COUNTED)),
        st.floats(0, 1e6),
        st.integers(0, 3),
        st.integers(0, len(POINTS)),
    ),
    max_size=8,
)


@settings(max_examples=15)
@given(LOST)
def test_a_failure_of_the_world_changes_no_worth_and_no_front(lost: list[tuple[Outcome, float, int, int]]) -> None:
    """Runs lost to the world, at any cost and of unknown price, are spent money and nothing else."""
    found = []
    for failures in ([], lost):
        with TemporaryDirectory() as folder, closing(Store(Path(folder) / "run.sqlite")) as opened:
            key, trained, tree = SessionKey("validate/a"), SessionKey("train/a"), Tree(2.0)
            opened.open_session(key, "task")
            opened.open_session(trained, "task")
            spent = 0.0
            for place, (name, (right, usd)) in enumerate(POINTS.items()):
                paid = [each._replace(cost_usd=usd / 10) for each in results(right)]
                more = [
                    ProblemResult(f"l{at}", 0, outcome, cost_usd=cost, unpriced=unpriced, problem_digest=f"l{at}")
                    for at, (outcome, cost, unpriced, of) in enumerate(failures)
                    if of == place
                ]
                plain = node(place + 1, place or None, right, name)
                each = replace(plain, evaluation=summarise(name, EXECUTOR, [*paid, *more]))
                spent += each.evaluation.cost_usd
                assert each.evaluation.cost_usd == pytest.approx(usd + sum(lost.cost_usd for lost in more))
                tree.record(each)
                opened.record(key, each)
                opened.record(trained, each)
            rounds = read_run(opened.path)
            assert sum(each.cost_usd for each in rounds.rounds) == pytest.approx(2 * spent)
            opened.set_meta("config", '{"selection": {"cost_weight": 2.0}}')
            leading = [each.graph for each in leaders(opened, "task", len(POINTS))]
            worths = [tree.worth(each) for each in tree]
            found.append((worths, tree.best().digest, leading, front(opened), numbers.priced([rounds])))
    assert found[0] == found[1]


@examples
@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(0, 1e3)), st.integers(0, 9)), max_size=6))
def test_the_cost_of_a_problem_is_the_same_in_sql(parts: list[tuple[float | None, int]]) -> None:
    """The cost of the runs that count over their number, unknown where a part is unknown."""
    parts = [(usd if n else None, n) for usd, n in parts]
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE nodes (usd_a_problem REAL, n INTEGER)")
        database.executemany("INSERT INTO nodes VALUES (?, ?)", parts)
        (found,) = database.execute(f"SELECT {USD_A_PROBLEM} FROM nodes").fetchone()
    expected = usd_a_problem(parts)
    assert found == (expected if expected is None else pytest.approx(expected))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
def test_every_item_is_on_the_front_or_beaten(points: list[tuple[int, int]]) -> None:
    """Nothing on the front beats another of it; all else is no cheaper and no better than one of it."""
    found = pareto(points, lambda each: each[0], lambda each: each[1])
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(found))
    assert all(any(a[0] <= point[0] and a[1] >= point[1] for a in found) for point in points)
