# SPDX-License-Identifier: Apache-2.0
"""A run has one config: what may change on the way, what may not, and that a try without results binds nobody."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aflow_env.cli.compose import load
from aflow_env.errors import ConfigError
from aflow_env.store.findings import leaders
from aflow_env.store.settings import lock, stored_config
from aflow_env.store.store import SessionKey, Store
from tests.search.support import node

SEARCH = ("rl_weight=0", "proposer=random")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "run.sqlite")
    yield opened
    opened.close()


def test_a_try_without_results_gives_way_to_the_next(store: Store) -> None:
    """Whoever mends a command after an error must not be told that the folder holds another run."""
    lock(store, load(["seed=1", "proposer=llm"]))
    mended = load(["seed=2", "proposer=random"])
    lock(store, mended)
    assert stored_config(store) == mended


def test_leaders_follow_the_cost_weight_of_the_config_that_is_played(store: Store) -> None:
    """A try without results had a weight, the run that followed has none: the better and dearer workflow leads."""
    for weight in (1000, 0):
        lock(store, load([*SEARCH, f"selection.cost_weight={weight}"]))
    key = SessionKey("arithmetic")
    store.open_session(key, "arithmetic")
    for place, (digest, right, usd) in enumerate([("cheap", 5, 0.0), ("dear", 9, 0.1)]):
        plain = node(place + 1, place or None, right, digest)
        store.record(key, replace(plain, evaluation=replace(plain.evaluation, usd_a_problem=usd / 10)))
    assert [workflow.graph for workflow in leaders(store, "arithmetic", 1)] == ["graph of dear"]


def test_a_run_with_results_refuses_another_scorer(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of two scorers in one tree would be neither; a comment in the YAML is no change."""
    monkeypatch.syspath_prepend(tmp_path)
    scorer, task = tmp_path / "settings_scorer.py", tmp_path / "mine.yaml"
    scorer.write_text("def f(answer, output):\n    return 1\n", encoding="utf-8")
    text = 'name: mine\npath: data\nprompt: "{q}"\nanswer: "{a}"\nscorer: settings_scorer:f\n'
    task.write_text(text, encoding="utf-8")
    config = load(
        ["task=own", f"task.name={task}", "executor=openai", "executor.base_url=http://x", "executor.model=m"]
    )
    try:
        lock(store, config)
        task.write_text(text.replace("{a}", "{a} {b}"), encoding="utf-8")
        lock(store, config)  # nothing has been scored yet
        task.write_text(text, encoding="utf-8")
        lock(store, config)
        store.open_session(SessionKey("problem"), "mine")
        task.write_text(f"# mine\n{text}", encoding="utf-8")
        lock(store, config)
        scorer.write_text("def f(answer, output):\n    return 0\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=r"scores of .*mine\.yaml as it was before .* another run_dir"):
            lock(store, config)
    finally:
        sys.modules.pop("settings_scorer", None)


def test_a_run_with_results_refuses_another_config(store: Store) -> None:
    lock(store, load(["seed=1"]))
    store.open_session(SessionKey("problem"), "arithmetic")
    with pytest.raises(ConfigError, match=r"\(seed=2, the run has 1\).*another run_dir"):
        lock(store, load(["seed=2"]))
    further = load(["seed=1", "rounds=9", "budget.usd=3"])
    lock(store, further)
    assert stored_config(store) == further
