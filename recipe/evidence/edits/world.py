# SPDX-License-Identifier: Apache-2.0
"""The embedded task in this process: a seed's problems, its SIMULATED executor, and the scores of workflows on both.

A workflow in normal form is run by a plain loop (recipe/bench/landscape.py) with the library's own attempts, operators,
simulated client and scorer, but without the sandbox. `compare` checks that the scores are those of the real evaluator.
Completions and scores are kept, so the arms of one seed pay for a workflow once; `calls` counts it for each arm.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from aflow_env.cli.compose import load
from aflow_env.config import AflowConfig
from aflow_env.errors import WorkflowError
from aflow_env.evaluation.attempt import Attempt
from aflow_env.llm.client import Completion, Request
from aflow_env.llm.simulated.executor import SimulatedClient
from aflow_env.llm.simulated.landscape import load_landscape
from aflow_env.tasks import Problem, Task, load_task
from aflow_env.tasks.baselines import start_steps
from aflow_env.workflow.steps import Step
from recipe.bench.landscape import run, run_code

Steps = tuple[Step, ...]
VALIDATE, TEST = 24, 60
COMMON = (f"limit={VALIDATE}", f"task.validate_size={VALIDATE}", f"task.test_size={TEST}", "proposer=random")


class Remembering:
    """The simulated client, which answers a request that it has answered before from memory."""

    def __init__(self, client: SimulatedClient) -> None:
        self.client = client
        self.answered: dict[tuple[str, int], Completion] = {}

    async def complete(self, request: Request) -> Completion:
        """Return the completion. All requests of a world differ in prompt and sample only."""
        key = "\n".join(message.content for message in request.messages), request.sample
        if key not in self.answered:
            self.answered[key] = await self.client.complete(request)
        return self.answered[key]

    async def aclose(self) -> None:
        """Release nothing."""


@dataclass(frozen=True)
class Score:
    """The mean score of a workflow on a split, and the executor calls that it took."""

    mean: float
    calls: int


@dataclass
class World:
    """Problems and executor of one seed."""

    seed: int
    config: AflowConfig
    task: Task
    client: Remembering
    problems: dict[str, list[Problem]]
    scores: dict[tuple[str, Steps], Score] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int, landscape: str | None = None) -> "World":
        """Build the world that `aflow-env search seed=SEED` with the overrides COMMON searches in.

        `landscape`: a file of `executor.landscape`; None: the package's own.
        """
        config = load([*COMMON, f"seed={seed}", *([f"executor.landscape={landscape}"] if landscape else [])])
        task = load_task(config.task)
        problems = {split: task.load(split, None, seed) for split in ("validate", "test")}
        client = SimulatedClient(load_landscape(config.executor.landscape), seed)
        return cls(seed, config, task, Remembering(client), problems)

    @property
    def start(self) -> Steps:
        """The workflow that a search starts from."""
        return start_steps(self.task.spec)

    def score(self, steps: Steps, split: Literal["validate", "test"] = "validate") -> Score:
        """Return the score of a workflow on all problems of a split."""
        if (split, steps) not in self.scores:
            self.scores[split, steps] = asyncio.run(self._score(steps, self.problems[split]))
        return self.scores[split, steps]

    async def _score(self, steps: Steps, problems: Sequence[Problem]) -> Score:
        total, calls = 0.0, 0
        for problem in problems:
            attempt = Attempt(problem, 0)
            context = attempt.context(self.client, self.config.executor, run_code)
            try:
                output = await run(steps, problem.prompt, context)
                total += (await self.task.score(problem, output, None)).value  # type: ignore[arg-type]
            except WorkflowError:  # a crash of the workflow counts as a wrong answer
                pass
            calls += attempt.calls
        return Score(total / len(problems), calls)
