# SPDX-License-Identifier: Apache-2.0
"""The judgement of named workflows on test problems, and its figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from aflow_env.cli.compose import assigned
from aflow_env.tasks.baselines import start_steps
from aflow_env.tasks.benchmarks.short_answers import GSM8K
from aflow_env.tasks.table import read_table
from aflow_env.workflow.steps import Step
from recipe.evidence import live, outcomes, table_figures
from tests.llm.server import serve
from tests.recipe.test_table import problem_files
from tests.tasks.tables import small_table


async def test_arms_are_judged_on_every_test_problem(tmp_path: Path) -> None:
    """Two names of one workflow share its row, and a second judgement asks nobody."""
    start, out = start_steps(GSM8K), tmp_path / "judged.jsonl"
    arms = {"IO": start, "CoT": (Step("Custom", "Think.", 0),), "search": start}
    problem_files(tmp_path)
    async with serve() as (address, books):
        asked = (*live.asked("gsm8k", tmp_path, f"{address}/v1", "m", 2), "task.validate_size=3", "task.test_size=3")
        overrides = (*asked, assigned("run_dir", tmp_path / "run"), assigned("cache", tmp_path / "cache"))
        await live.judge(overrides, arms, out, "a note")
        requests = len(books.requests)
        await live.judge(overrides, arms, out, "a note")
        assert len(books.requests) == requests == 6
    table = read_table(str(out), GSM8K)
    assert table.header.made["arms"] == {"IO": 0, "CoT": 1, "search": 0}
    assert [len(row.outcomes) for row in table.rows.values()] == [3, 3]


def test_a_difference_is_taken_problem_by_problem(tmp_path: Path) -> None:
    """An arm that solves one problem more of four, and loses none, has the paired interval of (0, 0, 0, 1)."""
    table = outcomes.outcomes(str(small_table(tmp_path)))
    correct = np.array([[1, 0, 1, 0], [1, 0, 1, 1], [0, 0, 0, 0]], float)
    arms = {"IO": 0, "search": 1, "CoT-SC x5": 2}
    found = replace(table, steps=table.steps[:3], correct_WP=correct, tokens_WP=correct, arms=arms)
    figures = table_figures.live(found)
    assert figures["live_gain"] == "+0.250±0.796"
    assert figures["live_over_votes"] == "+0.750±0.796"
    assert len(figures["live_lines"].splitlines()) == 3
