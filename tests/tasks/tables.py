# SPDX-License-Identifier: Apache-2.0
"""A small hand-made table of MBPP for the tests of rooms that read one."""

from pathlib import Path

from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import load
from aflow_env.tasks.benchmarks.humaneval_mbpp import MBPP
from aflow_env.tasks.table import Header, TableRow, dumped
from aflow_env.workflow.steps import Step
from recipe.table.make import workflows

PROBLEMS = 12


def small_table(folder: Path) -> Path:
    """Write a table of all workflows of one edit, and some of two, on PROBLEMS problems; a stronger one solves more."""
    phrases = load(["task=mbpp", "executor=policy"], UNGUIDED).task.instructions
    found = workflows(MBPP, phrases, [10], seed=0)
    rows = [row(steps) for steps in found.values()]
    header = Header(format=1, task="mbpp", problems=tuple(f"mbpp/{n}" for n in range(PROBLEMS)), made={"model": "none"})
    path = folder / "small.jsonl"
    path.write_text(dumped(header, rows))
    return path


def row(steps: tuple[Step, ...]) -> TableRow:
    """Select solves half a problem more for each sample, an instruction one, any other step none."""
    solved = 3 + sum(step.samples // 2 if step.operator == "Select" else bool(step.instruction) for step in steps)
    outcomes = "".join("1" if number * 5 % PROBLEMS < solved else "0" for number in range(PROBLEMS))
    calls = sum(max(step.samples - 1, 1) for step in steps)
    return TableRow(
        steps=tuple((step.operator, step.instruction, step.samples) for step in steps),
        outcomes="t" + outcomes[1:],
        tokens=((40 * calls, 30 * calls),) * PROBLEMS,
        calls=(calls,) * PROBLEMS,
    )
