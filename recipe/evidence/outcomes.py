# SPDX-License-Identifier: Apache-2.0
"""A table of real outcomes as arrays: its baselines, and the held-out gain of its best workflow.

`differences` answers question 1 of recipe/evidence/tables.py, which registers it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from aflow_env.cli.arguments import UNGUIDED
from aflow_env.cli.compose import assigned, load
from aflow_env.config import AflowConfig
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import start_steps
from aflow_env.tasks.table import Table, TableTask
from aflow_env.workflow.program import TaskSpec
from aflow_env.workflow.steps import Step, to_workflow

Steps = tuple[Step, ...]
KNOWN = "best of the earlier run"
"""The arm that runs nothing, in the rows of tables.py."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """A table as arrays.

    steps: Each workflow's steps, the start first.
    correct_WP, tokens_WP, calls_WP: Of workflow w on problem p.
    arms: Names of workflows with their places, where the table's maker gave them names (recipe/evidence/live.py).
    """

    config: AflowConfig
    spec: TaskSpec
    steps: tuple[Steps, ...]
    correct_WP: NDArray[np.float64]
    tokens_WP: NDArray[np.float64]
    calls_WP: NDArray[np.int64]
    arms: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def places(self) -> dict[str, int]:
        """Return digest -> place of a workflow."""
        return {digest(steps, self.spec): place for place, steps in enumerate(self.steps)}

    def place(self, steps: Steps) -> int | None:
        """Return the place of a workflow; None: it is not in the table."""
        return self.places.get(digest(steps, self.spec))


@cache
def digest(steps: Steps, spec: TaskSpec) -> str:
    """Return the digest of a workflow."""
    return to_workflow(steps, spec).digest


def outcomes(table: str, task: str = "mbpp") -> Outcomes:
    """Read a table of conf/aflow/tables, or a file."""
    config = load([f"task={task}", "executor=table", assigned("task.table", table)], UNGUIDED)
    found = load_task(config.task)
    assert isinstance(found, TableTask)
    return as_arrays(config, found.table, found.spec)


def as_arrays(config: AflowConfig, table: Table, spec: TaskSpec) -> Outcomes:
    """Return a table as arrays."""
    rows = list(table.rows.values())
    return Outcomes(
        config,
        spec,
        tuple(tuple(Step(*step) for step in row.steps) for row in rows),
        np.array([[letter == "1" for letter in row.outcomes] for row in rows], float),
        np.array([np.sum(row.tokens, axis=1) for row in rows], float),
        np.array([row.calls for row in rows]),
        cast(dict[str, int], table.header.made.get("arms", {})),
    )


def baselines(table: Outcomes) -> dict[str, Steps]:
    """Return the workflows of the table that are baselines, by name."""
    (first,) = start_steps(table.spec)
    thinking = next(each for each in table.config.task.instructions if "step by step" in each)
    found = {
        "IO": (first,),
        "CoT": (Step(first.operator, thinking, 0),),
        "CoT-SC x5": (first, Step("ScEnsemble", "", 5)),
        "Select x5": (first, Step("Select", "", 5)),
        "Vote x5": (first, Step("Vote", "", 5)),
        "Program": (Step("Programmer", "", 0),),
    }
    operators = {*table.spec.operators}
    known = {name: steps for name, steps in found.items() if operators >= {step.operator for step in steps}}
    return {name: steps for name, steps in known.items() if table.place(steps) is not None}


def leading(scores_W: NDArray[np.float64], tokens_W: NDArray[np.float64]) -> int:
    """Return the place of the best score, of equals that with fewer tokens."""
    return int(np.lexsort((tokens_W, -scores_W))[0])


def differences(table: Outcomes, baseline: Steps, equal_tokens: bool, draws: int = 2000) -> NDArray[np.float64]:
    """Return the held-out gains of the chosen workflow over a baseline, one for each draw (question 1)."""
    problems, against = table.correct_WP.shape[1], table.place(baseline)
    rng = np.random.default_rng(0)
    gains = np.empty(draws)
    for number in range(draws):
        order = rng.permutation(problems)
        half = problems // 2
        chosen_on, judged_on = rng.choice(order[:half], half), rng.choice(order[half:], problems - half)
        tokens = table.tokens_WP[:, chosen_on].mean(1)
        allowed = tokens <= tokens[against] if equal_tokens else np.ones(len(tokens), bool)
        scores = np.where(allowed, table.correct_WP[:, chosen_on].mean(1), -1)
        winner = leading(scores, tokens)
        gains[number] = (table.correct_WP[winner, judged_on] - table.correct_WP[against, judged_on]).mean()
    return gains
