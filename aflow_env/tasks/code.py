# SPDX-License-Identifier: Apache-2.0
"""What code tasks share: a score from hidden tests that run in the scoring child."""

import re

from aflow_env.tasks.base import Problem, RunTests, Score

SECONDS = 15.0
"""AFlow's time limit for the tests of one problem."""


def defines(code: str, name: str) -> bool:
    """Whether `code` defines a top-level function or class `name`, or assigns it."""
    definition = rf"^(?:(?:async\s+)?def|class)\s+{re.escape(name)}\b|^{re.escape(name)}\s*="
    return re.search(definition, code, re.MULTILINE) is not None


async def score_by_tests(problem: Problem, solution: str, entry_point: str, run_code: RunTests) -> Score:
    """1 when the hidden tests pass in time, else 0. Raises InfrastructureError from `run_code`."""
    run = await run_code(solution, problem.hidden_tests, entry_point, SECONDS)
    passed = run.outcome == "ok"
    return Score(float(passed), solution, passed)
