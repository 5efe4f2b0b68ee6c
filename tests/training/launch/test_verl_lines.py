# SPDX-License-Identifier: Apache-2.0
"""Lines of verl's console logger are read back as they were logged, whatever Ray puts around them."""

import logging

import pytest

from aflow_env.training.launch.verl_lines import LogLine, mark_warnings, marked, metrics_of, step_metrics

RAY = "\x1b[36m(TaskRunnerV1 pid=7)\x1b[0m "


@pytest.mark.parametrize(
    ("raw", "worker", "text"),
    [
        (f"{RAY}step:1 - a:1.0", "(TaskRunnerV1 pid=7) ", "step:1 - a:1.0"),
        ("(pid=12, ip=10.0.0.3) loading", "(pid=12, ip=10.0.0.3) ", "loading"),
        ("(raylet) a worker died", "(raylet) ", "a worker died"),
        ("(CpuServer pid=1) (EngineCore pid=2) ERROR", "(CpuServer pid=1) ", "(EngineCore pid=2) ERROR"),
        ("(see above) a line of the driver \n", "", "(see above) a line of the driver"),
    ],
)
def test_rays_prefix_is_told_from_the_line(raw: str, worker: str, text: str) -> None:
    assert LogLine.of(raw) == LogLine(worker, text)


def test_what_verl_logs_is_read_back() -> None:
    """Through verl's own formatter, with the kinds of numbers that it meets."""
    pytest.importorskip("verl", reason="needs verl: make setup")
    import numpy as np
    from verl.utils.logger.aggregate_logger import concat_dict_to_str

    logged = {"a/b": 0.25, "c": np.float64(-1e-17), "d": 3, "e": float("nan"), "f": True, "g": np.int64(4), "h": "text"}
    step, found = step_metrics(concat_dict_to_str(logged, 12)) or (0, {})
    assert step == 12
    assert found.pop("e") != 0
    assert found == {"a/b": 0.25, "c": -1e-17, "d": 3.0, "g": 4.0}


def test_the_lines_of_a_step_are_put_together() -> None:
    log = (
        f"Training Progress: 3%\n{RAY}step:3 - a:1.0\n{RAY}step:3 - b:np.float64(2.5)\n{RAY}step:4 - a:3\nstep:x - a:1"
    )
    assert metrics_of(log) == {3: {"a": 1.0, "b": 2.5}, 4: {"a": 3.0}}


def test_each_line_of_a_text_is_marked() -> None:
    assert marked("\none\n\n two\n") == "aflow_env: one\naflow_env:\naflow_env:  two"


def test_a_workers_warning_is_a_marked_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Of the package alone: the libraries' warnings stay in the log."""
    ours = logging.getLogger("aflow_env")
    before = list(ours.handlers)
    try:
        mark_warnings()
        logging.getLogger("aflow_env.llm.provider_limits").warning("the server answers %s again", "slowly")
        logging.getLogger("transfer_queue").warning("nothing for the screen")
    finally:
        ours.handlers = before
    assert [line for line in capfd.readouterr().err.splitlines() if line.startswith("aflow_env: ")] == [
        "aflow_env: the server answers slowly again"
    ]
