# SPDX-License-Identifier: Apache-2.0
"""Build the state of an expansion: the facts about a node that a proposer and a predictor may use in a round."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aflow_env.config import AflowConfig
from aflow_env.evaluation.results import Outcome, ProblemResult
from aflow_env.search.proposals.proposal import FailedCase, State
from aflow_env.search.tree import Tree
from aflow_env.soon import soon
from aflow_env.store.node_rows import Node
from aflow_env.store.shared import RunStore
from aflow_env.store.store import SessionKey
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.program import TaskSpec


@dataclass(frozen=True)
class States:
    """Builds the states of one session."""

    config: AflowConfig
    spec: TaskSpec
    problems: Sequence[Problem]
    store: RunStore
    key: SessionKey

    async def of(self, tree: Tree, node: Node, unseen: int | None = None) -> State:
        """Return the state of a node, with experience of this session and of the same workflow in earlier steps.

        Rounds of this session from `unseen` on are in flight and must not be seen.
        """
        entries = self.config.experience_entries
        experience = await soon(self.store.experience(self.spec.name, node.digest, self.key, entries, unseen))
        failures = self._failures(node, tree.visits(node.round))
        return State(node.workflow, self.spec, node.score, node.evaluation.n, tuple(experience), failures)

    def _failures(self, node: Node, visits: int) -> tuple[FailedCase, ...]:
        """Draw some wrong problems by workflow and visits, so each expansion sees others."""
        found = {each.problem_id: each for each in node.evaluation.results if each.outcome == Outcome.WRONG}
        if not self.config.failed_cases or not found:
            return ()
        rng, count = np.random.default_rng([int(node.digest, 16), visits]), min(self.config.failed_cases, len(found))
        wrong = list(found)
        chosen = {wrong[place] for place in rng.choice(len(wrong), count, replace=False)}
        return tuple(_case(problem, found[problem.id]) for problem in self.problems if problem.id in chosen)


def _case(problem: Problem, result: ProblemResult) -> FailedCase:
    return FailedCase(problem.prompt, problem.answer, result.answer, result.feedback, result.trace)
