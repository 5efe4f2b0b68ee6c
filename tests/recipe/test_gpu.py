# SPDX-License-Identifier: Apache-2.0
"""The data of the trainings on a GPU are what verl printed."""

import pytest

from recipe.evidence.gpu import KEPT, steps

LINE = "\x1b[36m(TaskRunnerV1 pid=7)\x1b[0m step:3 - {} - training/num_turns/mean:np.float64(3.0) - aflow/late:1.0"


def test_each_step_is_read_with_every_metric_that_is_kept() -> None:
    printed = " - ".join(f"{key}:{number}.5" for number, key in enumerate(KEPT.values()))
    assert list(steps(f"Training Progress\n{LINE.format(printed)}\nmore\n")) == [
        {"step": 3, **{name: number + 0.5 for number, name in enumerate(KEPT)}}
    ]


def test_a_line_without_a_search_is_not_a_step() -> None:
    assert list(steps(LINE.format("val-core/x:1.0"))) == []


@pytest.mark.parametrize("text", ["", "step:x - aflow/best_score:1"])
def test_other_output_is_passed_over(text: str) -> None:
    assert list(steps(text)) == []
