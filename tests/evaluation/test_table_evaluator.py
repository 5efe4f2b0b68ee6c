# SPDX-License-Identifier: Apache-2.0
"""A search on a table: real outcomes looked up, the same on every machine, and no model, jail or key behind them."""

from pathlib import Path
from typing import Any

import pytest

from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.errors import ConfigError
from aflow_env.evaluation.evaluator import OutsideTable, TableGate
from aflow_env.search.assemble import Assembly
from aflow_env.tasks.table import read_table
from aflow_env.workflow.gate import Violation
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import Step, to_workflow
from tests.tasks.tables import PROBLEMS, row, small_table

BEST = (Step("CustomCodeGenerate"), Step("Select", samples=8))


def config(folder: Path, run: str, *more: str) -> AflowConfig:
    common = ["executor=table", "task=mbpp", f"task.table={small_table(folder)}", "seed=3", "rl_weight=0", "rounds=12"]
    return load([*common, f"run_dir={folder / run}", *more], UNGUIDED)


async def played(settings: AflowConfig) -> list[tuple[Any, ...]]:
    assembly = await Assembly.open(settings)
    try:
        session = await assembly.play()
        return [
            (node.round, node.parent, node.digest, node.score, node.evaluation.input_tokens, node.evaluation.calls)
            for node in session.tree
        ]
    finally:
        await assembly.aclose()


async def test_two_searches_on_a_table_are_the_same_to_the_bit(tmp_path: Path) -> None:
    """Scores, tokens and calls are the table's, and every workflow that was run is in it."""
    first = await played(config(tmp_path, "one"))
    assert first == await played(config(tmp_path, "two"))
    assert len(first) > 6
    rows = read_table(str(small_table(tmp_path)), (await spec(tmp_path))).rows
    half = PROBLEMS // 2
    assert all(digest in rows for _, _, digest, *_ in first)
    assert all(calls == half * rows[digest].calls[0] for _, _, digest, _, _, calls in first)
    assert max(score for *_, score, _, _ in first) > first[0][3]


async def spec(folder: Path) -> Any:
    assembly = await Assembly.open(config(folder, "spec"))
    await assembly.aclose()
    return assembly.task.spec


async def test_what_is_not_in_the_table_is_refused_and_said_to_be(tmp_path: Path) -> None:
    """The gate's own reasons come first; a well-formed program outside the table has an outcome of its own."""
    words = await spec(tmp_path)
    gate = TableGate(read_table(str(small_table(tmp_path)), words))
    gate(to_workflow(BEST, words), words)
    with pytest.raises(OutsideTable, match="outside the table"):
        gate(to_workflow((Step("Custom", "Say no."),), words), words)
    with pytest.raises(Violation):
        gate(Workflow("import os", ""), words)


async def test_a_workflow_of_the_table_has_the_outcomes_of_its_row(tmp_path: Path) -> None:
    """Each letter is an outcome, each count the problem's own; a repeat, or another workflow, has none."""
    assembly = await Assembly.open(config(tmp_path, "run", "task.options.split_seed=5"))
    try:
        problems, words = assembly.pool("validate"), assembly.task.spec
        found = await assembly.evaluator.evaluate(to_workflow(BEST, words), problems)
        letters = [row(BEST).outcomes[int(problem.id.partition("/")[2])] for problem in problems]
        names = {"1": "correct", "0": "wrong", "t": "timeout"}
        assert [str(result.outcome) for result in found.results] == [names[letter] for letter in letters]
        assert found.score == letters.count("1") / len(letters)
        with pytest.raises(ConfigError, match="has no outcomes of workflow"):
            await assembly.evaluator.evaluate(to_workflow((Step("Custom", "Say no."),), words), problems)
    finally:
        await assembly.aclose()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["executor=table"], "executor.kind=table with task.table=None"),
        (["task=mbpp", "executor=policy", "task.table=mbpp"], "executor.kind=policy with task.table=mbpp"),
        (["executor=table", "task=mbpp", "task.table=x", "repeats=2"], "it has one run a problem"),
        (["executor=table", "task=mbpp", "task.table=x", "stop.usd=1"], "executor.kind=table: no evaluation costs"),
    ],
)
def test_a_table_and_its_executor_come_together(overrides: list[str], said: str) -> None:
    """Each key alone, and what a table cannot do, is refused before anything is read."""
    with pytest.raises(ConfigError, match=said):
        load(overrides, UNGUIDED)


def test_table_is_short_for_task_executor_and_table() -> None:
    """`table=mbpp` names the benchmark's own table, and the groups that the user gives stay."""
    short = load(["table=mbpp"], UNGUIDED)
    assert (short.task.name, short.task.table, short.executor.kind) == ("mbpp", "mbpp", "table")
    given = load(["executor=table", "++table='a file.jsonl'", "task=humaneval"], UNGUIDED)
    assert (given.task.name, given.task.table) == ("humaneval", "a file.jsonl")
