# SPDX-License-Identifier: Apache-2.0
"""The manual workflows: what their papers mean by them."""

import pytest

from aflow_env.config import TaskConfig
from aflow_env.tasks import load_task
from aflow_env.tasks.baselines import SAMPLES, baselines
from aflow_env.workflow.steps import Step, to_steps


@pytest.mark.parametrize(
    ("task", "ask", "vote"),
    [
        ("gsm8k", "Custom", "Vote"),
        ("hotpotqa", "AnswerGenerate", "Vote"),
        ("humaneval", "CustomCodeGenerate", "ScEnsemble"),
    ],
)
def test_self_consistency_counts_the_answers_of_several_draws(task: str, ask: str, vote: str) -> None:
    """It reasons SAMPLES times and takes the most frequent short answer; code has none to count."""
    first, second = to_steps(baselines(load_task(TaskConfig(name=task)).spec)[f"CoT-SC x{SAMPLES}"])
    assert (first.operator, second) == (ask, Step(vote, samples=SAMPLES))


def test_code_alone_is_selected_by_public_tests() -> None:
    """The baseline that a code search has to beat draws until a program passes."""
    name = f"Select x{SAMPLES}"
    found = baselines(load_task(TaskConfig(name="mbpp")).spec)
    assert to_steps(found[name])[-1] == Step("Select", samples=SAMPLES)
    assert name not in baselines(load_task(TaskConfig(name="gsm8k")).spec)
