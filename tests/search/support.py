# SPDX-License-Identifier: Apache-2.0
"""Small builders for the tests of this room."""

from hypothesis import settings

from aflow_env.evaluation.results import Outcome, ProblemResult, summarise
from aflow_env.store.node_rows import Node
from aflow_env.workflow.program import Workflow

examples = settings(max_examples=60)  # the machine may be busy with other things
PROBLEMS = 10
EXECUTOR = "executor"


def results(correct: int, problems: int = PROBLEMS) -> tuple[ProblemResult, ...]:
    """`problems` results, the first `correct` of them right."""
    return tuple(
        ProblemResult(
            problem_id=f"p{i}",
            repeat=0,
            outcome=Outcome.CORRECT if i < correct else Outcome.WRONG,
            score=float(i < correct),
            answer=str(i),
            seconds=0.25,
            cost_usd=0.125,
            input_tokens=7,
            output_tokens=3,
            calls=1,
            problem_digest=f"d{i}",
        )
        for i in range(problems)
    )


def node(round_: int, parent: int | None, correct: int = 5, digest: str | None = None) -> Node:
    """A node whose workflow is named by its round."""
    evaluation = summarise(digest or f"digest{round_}", EXECUTOR, results(correct))
    workflow = Workflow(f"graph of {evaluation.digest}", "")
    return Node(round_, parent, workflow, evaluation, f"change {round_}", f'{{"edit": {round_}}}')
