# SPDX-License-Identifier: Apache-2.0
"""Compare how fast GiGPO and GRPO learn in two environments with a known optimum.

    python -m recipe.evidence.learning run [--seeds 5] [--only gigpo-chain-1]     # one training a job, resumable
    python -m recipe.evidence.learning table

SIMULATED executor, real verl, the tiny policy on a CPU. `bandit`: one round, one edit decides. `chain`: four rounds,
two edits are needed and there is no reward before both. The landscapes (learning/*.yaml) have no noise, so a workflow
scores 0 or 1 and the optimum of a session is 1. The seed decides the order of data and the draws of the search. All
trainings start with the same policy. The samples of the rollout server do not repeat.

In the bandit every session has one step from one state, so GiGPO's advantage is twice GRPO's. It is the control.

`steps` is the first training step at which the mean best score of the sessions, over three steps, reaches 0.9; a run
that never reaches it counts as one step more than it had. `q_rank` is Spearman's correlation of Q in the last third of
the run with the true value of the state, found by trying every edit; it is undefined in the bandit, which has one
state. A finished job leaves one line in results/learning.jsonl; a job that was cut starts again.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from aflow_env.cli.compose import load
from aflow_env.llm.simulated.executor import SimulatedClient
from aflow_env.llm.simulated.landscape import load_landscape
from aflow_env.report.wandb_runs import OfflineRun, read_offline_run
from aflow_env.search.prediction.q import spearman
from aflow_env.store.findings import workflow_of
from aflow_env.store.store import Store
from aflow_env.tasks import load_task
from aflow_env.workflow.edits import apply_edit, every_edit
from aflow_env.workflow.operators import OperatorContext
from aflow_env.workflow.steps import Step, to_steps
from recipe.bench.landscape import Meter, run, run_code
from recipe.evidence.learning_results import table

HERE = Path(__file__).parent
DATA = HERE / "results" / "learning.jsonl"
ESTIMATORS = ("gigpo", "grpo")
ROUNDS = {"bandit": 1, "chain": 4}
STEPS = {"bandit": 15, "chain": 30}
REACHED, OVER = 0.9, 3
PROBLEMS = ("task.validate_size=2", "task.options.difficulty=[1,2]")
TRAINING = (
    *("aflow.task.test_size=0", "aflow.limit=2", "aflow.problems.validate=1"),
    *("data.train_batch_size=2", "actor_rollout_ref.actor.ppo_mini_batch_size=2", "actor_rollout_ref.rollout.n=8"),
    *("trainer.val_before_train=false", "trainer.test_freq=-1", "trainer.save_freq=-1"),
)

app = typer.Typer(add_completion=False, no_args_is_help=True)


@dataclass(frozen=True)
class Job:
    """One training run."""

    estimator: str
    environment: str
    seed: int

    @property
    def name(self) -> str:
        """As in `--only`."""
        return f"{self.estimator}-{self.environment}-{self.seed}"

    def command(self) -> list[str]:
        """Return the training command; everything that differs between jobs is here."""
        landscape = HERE / "learning" / f"{self.environment}.yaml"
        mine = (
            *(f"algorithm.adv_estimator={self.estimator}", f"aflow.executor.landscape={landscape}"),
            *(f"aflow.rounds={ROUNDS[self.environment]}", f"trainer.total_training_steps={STEPS[self.environment]}"),
            *(f"aflow.seed={self.seed}", f"data.seed={self.seed}", f"trainer.experiment_name={self.name}"),
        )
        problems = [f"aflow.{each}" for each in PROBLEMS]
        program = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-name", "aflow_gigpo_cpu"]
        return [*program, *problems, *TRAINING, *mine]


def steps_needed(scores: Sequence[float]) -> int:
    """Return the first step (from 1) whose mean with the two before reaches 0.9, or one more than all steps."""
    for step in range(OVER, len(scores) + 1):
        if np.mean(scores[step - OVER : step]) >= REACHED:
            return step
    return len(scores) + 1


class Truth:
    """What a workflow scores, and the best that is one edit away: by running everything, in this process."""

    def __init__(self, environment: str) -> None:
        self.config = load(["rl_weight=0", "q.kind=none", "proposer=random", *PROBLEMS])
        self.task = load_task(self.config.task)
        self.problems = self.task.load("validate", None, 0)
        self.client = SimulatedClient(load_landscape(str(HERE / "learning" / f"{environment}.yaml")))

    @cache  # noqa: B019 - lives as long as the process
    def score(self, steps: tuple[Step, ...]) -> float:
        """Mean score over the environment's problems, in [0, 1]."""

        async def outcomes() -> list[float]:
            meters = [Meter(self.client, 0.7) for _ in self.problems]
            pairs = zip(self.problems, meters, strict=True)
            said = [await run(steps, problem.prompt, OperatorContext(meter.ask, run_code)) for problem, meter in pairs]
            judged = [await self.task.score(p, a, None) for p, a in zip(self.problems, said, strict=True)]  # type: ignore[arg-type]
            return [each.value for each in judged]

        return float(np.mean(asyncio.run(outcomes())))

    @cache  # noqa: B019
    def value(self, steps: tuple[Step, ...]) -> float:
        """Return the best score one edit away."""
        edits = every_edit(steps, self.task.spec, self.config.task.instructions)
        best = 0.0
        for edit in edits:
            best = max(best, self.score(apply_edit(steps, edit, self.task.spec)))
            if best == 1.0:
                break
        return best


def q_rank(job: Job, store: Store, steps: int) -> float:
    """Spearman's correlation of the predictions of the last third of the steps with the states' true values, or NaN."""
    truth, skip = Truth(job.environment), steps * 2 // 3
    sql = (
        "SELECT parent_digest, json_extract(payload, '$.q') AS q FROM nodes WHERE q IS NOT NULL AND step > ? "
        "AND session NOT LIKE 'validate/%'"
    )
    said = [(str(digest), float(str(q))) for digest, q in store.read(sql, (skip,))]
    values = [truth.value(to_steps(workflow_of(store, digest))) for digest, _ in said]
    return spearman([q for _, q in said], values) if said else float("nan")


def measured(job: Job, found: OfflineRun, folder: Path, seconds: float) -> dict[str, Any]:
    """Return a job's line of data."""
    scores = [float(value) for value in found.column("aflow/best_score")]
    with closing(Store(folder / "runs" / job.name / "search" / "run.sqlite")) as store:
        rank = q_rank(job, store, len(scores))
    return {
        **asdict(job),
        "steps": steps_needed(scores),
        "of": len(scores),
        "q_rank": None if np.isnan(rank) else round(rank, 4),
        "last": round(float(np.mean(scores[-OVER:])), 4),
        "seconds": round(seconds),
        "best_score": [round(score, 4) for score in scores],
        "q_error": [round(float(value), 4) for value in found.column("aflow/q_error")],
        "q_error_constant": [round(float(value), 4) for value in found.column("aflow/q_error_constant")],
    }


def finished() -> dict[str, dict[str, Any]]:
    """Return the lines of data by job name."""
    lines = DATA.read_text().splitlines() if DATA.is_file() else []
    data = [json.loads(line) for line in lines]
    return {Job(each["estimator"], each["environment"], each["seed"]).name: each for each in data}


@app.command("run")
def run_jobs(
    seeds: Annotated[int, typer.Option(min=1, help="Jobs for seeds 1 to this.")] = 5,
    only: Annotated[str, typer.Option(help="The names of single jobs, with commas between them.")] = "",
    out: Annotated[Path, typer.Option(help="Run folders; a job's is removed before it starts.")] = Path(
        "runs/learning"
    ),
) -> None:
    """Run what is missing, one job after the other."""
    grid = [Job(each, where, seed) for seed in range(1, seeds + 1) for where in ROUNDS for each in ESTIMATORS]
    chosen = set(only.split(",")) if only else {job.name for job in grid}
    if unknown := chosen - {job.name for job in grid}:
        raise SystemExit(f"no such job: {', '.join(sorted(unknown))}; a name is like {grid[0].name}")
    for job in grid:
        if job.name not in chosen or job.name in finished():
            continue
        folder, began = (out / job.name).resolve(), time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with (folder / "log").open("wb") as log:
            environment = os.environ | {"WANDB_MODE": "offline"}
            done = subprocess.run(job.command(), cwd=folder, stdout=log, stderr=log, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"{job.name} failed: {folder / 'log'} says why")
        line = measured(job, read_offline_run(folder / "wandb"), folder, time.monotonic() - began)
        DATA.parent.mkdir(exist_ok=True)
        with DATA.open("a") as data:
            data.write(f"{json.dumps(line)}\n")
        print(f"{job.name}: {line['steps']} of {line['of']} steps, {line['seconds']} s", flush=True)


@app.command("table")
def print_table() -> None:
    """Medians over seeds with their intervals; n is how many runs there are."""
    print("SIMULATED executor; steps to 90 % of the optimum, median and 95 % bootstrap interval\n")
    print(table(finished().values()))


if __name__ == "__main__":
    app()
