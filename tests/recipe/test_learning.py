# SPDX-License-Identifier: Apache-2.0
"""The learning experiment: its environments have the optimum that they claim, and its measures are what they say."""

import subprocess
import sys

import pytest

pytest.importorskip("verl", reason="needs verl")
from aflow_env.tasks.baselines import start_steps
from aflow_env.workflow.steps import Step
from recipe.evidence.learning import Job, Truth, steps_needed
from recipe.evidence.learning_results import differences, interval

LIST = Step("Custom", "Write down each quantity and its unit before you calculate.")
STEP = Step("Custom", "Think step by step, then give the final number.")


def test_in_the_bandit_one_edit_decides() -> None:
    truth = Truth("bandit")
    start = start_steps(truth.task.spec)
    assert (truth.score(start), truth.value(start)) == (0.0, 1.0)
    assert truth.score((LIST,)) == 0.0
    assert truth.score((STEP,)) == 1.0


def test_in_the_chain_two_edits_are_needed_and_nothing_is_paid_before() -> None:
    truth = Truth("chain")
    start = start_steps(truth.task.spec)
    assert (truth.score(start), truth.value(start)) == (0.0, 0.0), "no single edit of the start scores"
    assert truth.score((LIST,)) == truth.score((*start, Step("Programmer"))) == 0.0
    assert truth.value((LIST,)) == 1.0
    assert truth.score((LIST, Step("Programmer"))) == 1.0
    assert truth.score((Step("Programmer"), LIST)) == 0.0, "the list has to come first"


def test_a_run_that_never_gets_there_counts_as_one_step_more() -> None:
    assert steps_needed([0.0, 1.0, 1.0, 1.0]) == 4
    assert steps_needed([1.0, 0.8, 0.9, 0.0]) == 3
    assert steps_needed([0.5] * 7) == 8


def test_an_interval_is_of_medians_and_repeats() -> None:
    assert interval([3, 3, 3]) == "3 [3, 3]"
    assert interval([1, 2, 30]) == interval([1, 2, 30]) == "2 [1, 30]"


def test_differences_are_paired_by_seed() -> None:
    steps = {("gigpo", 1): 5, ("gigpo", 2): 9, ("grpo", 1): 7, ("grpo", 3): 1}
    runs = [{"environment": "chain", "estimator": e, "seed": s, "steps": n} for (e, s), n in steps.items()]
    assert differences(runs, "chain") == [-2]


def test_jobs_differ_in_estimator_environment_and_seed_alone() -> None:
    one, other = Job("gigpo", "chain", 1).command(), Job("grpo", "chain", 1).command()
    changed = {word.partition("=")[0] for word in set(one) ^ set(other)}
    assert changed == {"algorithm.adv_estimator", "trainer.experiment_name"}


def test_the_command_line_lists_what_there_is() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recipe.evidence.learning", "run", "--only", "nobody"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no such job: nobody" in done.stderr
