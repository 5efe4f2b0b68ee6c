# SPDX-License-Identifier: Apache-2.0
"""A workflow's calls over as many children as it takes: one result a call, nothing asked or paid twice.

A problem whose child was ended by another problem starts again, and is given again the replies that it had been given:
they are kept with it, by operator and arguments, until the batch is done.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from aflow_env.sandbox.conversation import Problem, Session, Work
from aflow_env.sandbox.jail.wire import JSON
from aflow_env.sandbox.limits import Run


async def run_batch(work: Work, calls: Sequence[dict[str, JSON]]) -> list[Run | BaseException]:
    """One result a call, in order: a Run, or the InfrastructureError or BudgetExhausted that the handler raised.

    Any other exception of the handler but WorkflowError is raised, and so is InfrastructureError when no child can be
    had. Requests that the handler has begun are waited for, unless this is cancelled.
    """
    problems = [Problem(i, arguments, work.limits.wall_seconds) for i, arguments in enumerate(calls)]
    waiting = deque(problems)
    try:
        while waiting:
            await Session(work, waiting).run()
    except asyncio.CancelledError:
        for task in _requests(problems):
            task.cancel()
        raise
    finally:  # a request under way is paid for, and has to be recorded
        await asyncio.gather(*_requests(problems), return_exceptions=True)
    return [p.result for p in problems if p.result is not None]


def _requests(problems: list[Problem]) -> "list[asyncio.Task[dict[str, JSON]]]":
    return [task for problem in problems for tasks in problem.replies.values() for task in tasks]
