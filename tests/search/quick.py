# SPDX-License-Identifier: Apache-2.0
"""Searches without sandbox and executor: what a workflow scores is a function of its digest, how long it takes is up to
the test. Store, tree, gate, edits and the loop are the real ones."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from aflow_env.cli.compose import change, load
from aflow_env.config import AflowConfig, TaskConfig
from aflow_env.evaluation.attempt import Attempt
from aflow_env.evaluation.evaluator import Evaluator
from aflow_env.evaluation.results import Outcome, ProblemResult
from aflow_env.search.prediction.predict import LearningPredictor, QPredictor
from aflow_env.search.proposals.proposal import Proposer, RandomProposer
from aflow_env.search.rounds import Search
from aflow_env.search.session import SearchProblem, SearchSession, session_seed
from aflow_env.store.store import SessionKey, Store
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import Step, to_workflow

PROBLEMS = [Problem(id=f"p{i}", prompt=f"question {i}", answer=f"answer {i}") for i in range(8)]
KEY = SessionKey("quick")
START = to_workflow([Step("Custom", "Answer.")], Arithmetic.spec)
Pause = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """A pause that is none."""


def shuffled(seed: int) -> Pause:
    """Pauses of 0 to 6 turns of the event loop, drawn: nobody knows which of several will be through first."""
    random = Random(seed)

    async def pause() -> None:
        for _ in range(random.randrange(7)):
            await asyncio.sleep(0)

    return pause


class Quick(Evaluator):
    """The evaluator, but a run is a draw by the workflow's digest after a pause. Counts runs and who runs at a time."""

    def __init__(self, pause: Pause = at_once, cost_usd: float = 0.5) -> None:
        task = Arithmetic(TaskConfig(name="arithmetic"))
        nothing: Any = None
        super().__init__(task, nothing, nothing, nothing)
        self.asked: list[str] = []
        self.runs = 0
        self.most = 0
        self._now = 0
        self._pause = pause
        self._cost_usd = cost_usd

    def keep_in(self, store: Store) -> None:
        """What is run is stored there, and what is stored there is not run."""
        self.cache = store

    def executor_key(self, version: str = "") -> str:
        return "quick"

    def score_of(self, workflow: Workflow, attempt: Attempt) -> float:
        """Half of the problems are solved, drawn by digest."""
        drawn = np.random.default_rng([int(workflow.digest, 16), attempt.repeat]).random(len(PROBLEMS)) < 0.5
        return float(drawn[PROBLEMS.index(attempt.problem)])

    async def _run(self, workflow: Workflow, attempts: Sequence[Attempt]) -> list[ProblemResult]:
        self.asked.append(workflow.digest)
        self.runs += len(attempts)
        self._now += 1
        self.most = max(self.most, self._now)
        await self._pause()
        self._now -= 1
        return [self._result(attempt, self.score_of(workflow, attempt)) for attempt in attempts]

    def _result(self, attempt: Attempt, score: float) -> ProblemResult:
        attempt.cost_usd, attempt.input_tokens, attempt.output_tokens, attempt.calls = self._cost_usd, 7, 3, 1
        return attempt.result(Outcome.CORRECT if score else Outcome.WRONG, score=score, answer="a")


@cache
def _stock() -> AflowConfig:
    one = ("lookahead.nodes=1", "lookahead.edits=1", "redraws=0")
    return load(("rl_weight=0", "q.kind=none", "proposer=random", "rounds=12", "selection.c_ucb=0.1", *one))


def config(folder: Path, *overrides: str) -> AflowConfig:
    """A config of a stock search of 12 rounds."""
    return change(_stock(), (f"run_dir={folder}", *overrides))


async def play(
    config: AflowConfig,
    evaluator: Quick,
    proposer: Proposer | None = None,
    interrupt: asyncio.Event | None = None,
    predictor: QPredictor | LearningPredictor | None = None,
) -> tuple[SearchSession, str]:
    """One session in the config's folder, begun or resumed, and the digest of its store."""
    with closing(Store(Path(config.run_dir) / "run.sqlite")) as store:
        evaluator.keep_in(store)
        chosen = proposer or RandomProposer(config.task.instructions)
        search = Search(
            config=config,
            task=Arithmetic(config.task),
            problems=PROBLEMS,
            evaluator=evaluator,
            store=store,
            proposer=chosen,
            predictor=predictor,
        )
        session = await search.play(SearchProblem(KEY, session_seed(config.seed), START), interrupt=interrupt)
        return session, store.digest()
