# SPDX-License-Identifier: Apache-2.0
"""A table is read whole or refused by file and line, and its problems are split by a seed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aflow_env.cli.compose import load
from aflow_env.config import TaskConfig, config_directory
from aflow_env.errors import ConfigError
from aflow_env.tasks import load_task
from aflow_env.tasks.table import TableTask
from tests.tasks.tables import PROBLEMS, small_table


def table_of(path: Path, **keys: Any) -> TableTask:
    task = load_task(TaskConfig(name="mbpp", table=str(path), **{"validate_size": 99, "test_size": 99} | keys))
    assert isinstance(task, TableTask)
    return task


def test_the_halves_are_disjoint_complete_and_the_seed_s_own(tmp_path: Path) -> None:
    """Other split seeds give other halves, so a replay can resample them; sizes cut them."""
    path = small_table(tmp_path)
    task = table_of(path)
    halves = [[problem.id for problem in task.load(split)] for split in ("validate", "test")]
    assert sorted(map(len, halves)) == [PROBLEMS // 2, PROBLEMS // 2]
    assert len({*halves[0], *halves[1]}) == PROBLEMS
    other = table_of(path, options={"split_seed": 1})
    assert [problem.id for problem in other.load("validate")] != halves[0]
    assert [problem.id for problem in table_of(path, validate_size=2).load("validate")] == halves[0][:2]
    assert task.load("train") == []


def test_the_benchmark_s_own_words_are_the_table_s(tmp_path: Path) -> None:
    """A proposer reads the same operators as with the data, and `task.options` still count."""
    path = small_table(tmp_path)
    assert table_of(path).spec == load_task(TaskConfig(name="mbpp")).spec
    with pytest.raises(ConfigError, match=r"line \d+: its steps are no workflow of mbpp: step 2"):
        table_of(path, options={"operators": ["CustomCodeGenerate"]})


def changed(change: Callable[[dict[str, Any]], object], line: int) -> Callable[[list[str]], list[str]]:
    def apply(lines: list[str]) -> list[str]:
        value = json.loads(lines[line])
        change(value)
        return [*lines[:line], json.dumps(value), *lines[line + 1 :]]

    return apply


def test_a_table_that_is_not_there_is_said_to_be_made_first() -> None:
    with pytest.raises(ConfigError, match=r"task\.table=none: there is no .*none\.jsonl .*Make it: docs/tasks\.md"):
        table_of(Path("none"))


def test_a_table_has_no_problems_to_train_on(tmp_path: Path) -> None:
    """The error names the key, its value and the fix, for a search and for a training."""
    with pytest.raises(ConfigError, match=r"task\.train_size=8 with task\.table=.*Set task\.train_size=0"):
        table_of(small_table(tmp_path), train_size=8)


def test_every_task_may_name_a_table() -> None:
    """A table that is not there is the complaint, never the key."""
    for task in config_directory().glob("aflow/task/*.yaml"):
        found = load([f"task={task.stem}", "executor=table", "task.table=none", "rl_weight=0", "proposer=random"])
        assert found.task.table == "none"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(lambda row: row["calls"].pop(), 3), r"small\.jsonl line 4: it has not one outcome"),
        (changed(lambda row: row.update(outcomes="?" * PROBLEMS), 1), r"line 2: outcomes="),
        (changed(lambda header: header.update(task="humaneval"), 0), r"a table of humaneval; set task=humaneval"),
        (changed(lambda header: header.update(format=2), 0), r"line 1: format=2"),
        (changed(lambda header: header["problems"].__setitem__(1, "mbpp/0"), 0), r"line 1: a problem is there twice"),
        (lambda lines: ["", *lines], r"line 1: "),
        (lambda lines: [], r"small\.jsonl cannot be read"),
    ],
)
def test_a_broken_table_is_refused_by_its_line(
    tmp_path: Path, change: Callable[[list[str]], list[str]], said: str
) -> None:
    """Nothing is looked up in a table of which a part cannot be read."""
    path = small_table(tmp_path)
    path.write_text("\n".join(change(path.read_text().splitlines())))
    with pytest.raises(ConfigError, match=said):
        table_of(path)


def test_a_table_of_another_task_is_named_as_such(tmp_path: Path) -> None:
    """The operators of its rows may be unknown to the task that was asked for, which is not the mistake."""
    with pytest.raises(ConfigError, match="a table of mbpp; set task=mbpp"):
        load_task(TaskConfig(name="gsm8k", table=str(small_table(tmp_path))))
