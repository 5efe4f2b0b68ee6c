# SPDX-License-Identifier: Apache-2.0
"""Look up a workflow's outcomes in a table (tasks/table.py) instead of asking an executor."""

from collections.abc import Sequence
from dataclasses import dataclass

from aflow_env.errors import ConfigError, WorkflowError
from aflow_env.evaluation.attempt import Attempt
from aflow_env.evaluation.evaluator import Evaluator
from aflow_env.evaluation.results import Outcome, ProblemResult
from aflow_env.tasks.table import OUTCOMES, Table, TableRow, TableTask
from aflow_env.workflow.gate import check
from aflow_env.workflow.program import TaskSpec, Workflow


class OutsideTable(WorkflowError):
    """The table has no outcomes of this valid program. The text is one sentence for the policy."""


@dataclass(frozen=True)
class TableGate:
    """The gate of a search on a table. A program must pass the gate and be in the table."""

    table: Table

    def __call__(self, workflow: Workflow, spec: TaskSpec) -> None:
        """Raise Violation or OutsideTable unless the program is in the table."""
        if workflow.digest not in self.table.rows:
            check(workflow, spec)
            raise OutsideTable("outside the table: it has no outcomes of this workflow")


@dataclass(eq=False)
class TableEvaluator(Evaluator):
    """An Evaluator that runs nothing. Its task is a TableTask."""

    async def _run(self, workflow: Workflow, attempts: Sequence[Attempt]) -> list[ProblemResult]:
        assert isinstance(self.task, TableTask)
        table = self.task.table
        row = table.rows.get(workflow.digest)
        if row is None:
            raise ConfigError(f"task.table: {table.path} has no outcomes of workflow {workflow.digest}")
        places = {name: place for place, name in enumerate(table.header.problems)}
        return [_result(row, places[attempt.problem.id], attempt) for attempt in attempts]


def _result(row: TableRow, place: int, attempt: Attempt) -> ProblemResult:
    outcome = Outcome(OUTCOMES[row.outcomes[place]])
    attempt.input_tokens, attempt.output_tokens = row.tokens[place]
    attempt.calls = row.calls[place]
    return attempt.result(outcome, score=float(outcome == Outcome.CORRECT))
