# SPDX-License-Identifier: Apache-2.0
"""Lines of verl's console logger are read back as they were logged, whatever Ray puts around them.

The screen has a line a step, ours, and errors; all within 80 columns, and nothing else.
"""

import logging
from collections.abc import Iterable

import pytest

from aflow_env.screen import WIDTH
from aflow_env.training.launch.log_lines import (
    HEAD,
    LAST_WORDS,
    MOST_ERRORS,
    Extract,
    mark_warnings,
    marked,
    metrics_of,
    read_line,
    step_metrics,
)

RAY = "\x1b[36m(TaskRunnerV1 pid=7)\x1b[0m "
STEP = (
    "step:{} - global_seqlen/min:8704.0 - aflow/episode_return:{} - aflow/valid_rate:np.float64(0.984375) - "
    "aflow/q_corr:-0.1034 - timing_s/step:13.48{}"
)
RUN = "aflow/run/best_score:0.917 - aflow/run/best_score_low:0.646 - aflow/run/best_score_high:0.985"
TRACEBACK = "Traceback (most recent call last):"
NOISE = (
    "WARNING transfer_queue.utils.common - target_num_threads 8 should not exceed total physical CPU cores 2.",
    " 'actor_rollout_ref': {'actor': {'_target_': 'verl.workers.config.FSDPActorConfig',",
    "Training Progress:  32%|###   | 7/22 [01:28<03:10, 12.71s/it]",
    "wandb: Run history:",
    "UserWarning: torchtitan engine is not available: ModuleNotFoundError(\"No module named 'torchtitan'\")",
    "(\"Initial validation metrics: {'val-core/aflow/arithmetic/reward/mean@1': \"",
)


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
    assert read_line(raw) == (worker, text)


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


def shown(lines: Iterable[str], total: int = 22) -> tuple[list[str], Extract]:
    """Feed lines, 10 s apart."""
    extract = Extract(total, 0.0)
    return [text for place, line in enumerate(lines) for text in extract.read(line, 10.0 * (place + 1))], extract


def test_a_step_is_one_line_below_a_head() -> None:
    lines = [f"{RAY}step:3 - {RUN}", RAY + STEP.format(3, 0.152, f" - {RUN} - aflow/run/cost_usd:0.0351")]
    found, extract = shown([*lines, RAY + STEP.format(4, 0.2, f" - {RUN} - aflow/run/cost_usd:0.07")])
    assert found == [
        HEAD,
        "3/22     0.152   0.98  0.917   [0.65, 0.98]   -0.10     0.0351  13.5   4:16",
        "4/22     0.200   0.98  0.917   [0.65, 0.98]   -0.10     0.0700  13.5   3:31",
    ]
    assert (extract.step, extract.total, extract.left) == (4, 22, "3:31")


def test_a_figure_that_a_step_lacks_is_a_dash_and_never_0() -> None:
    found, _ = shown([f"{RAY}step:150 - timing_s/step:812.25 - aflow/episode_return:-0.2"], 150)
    assert found[1] == "150/150 -0.200      -      -              -       -          -  812.2   0:00"


def test_a_bill_that_became_unknown_is_a_dash() -> None:
    known = RAY + STEP.format(1, 0.2, f" - {RUN} - aflow/run/cost_usd:0.07")
    found, _ = shown([known, RAY + STEP.format(2, 0.2, f" - {RUN}")])
    assert ["0.0700" in line for line in found[1:]] == [True, False]


def test_verl_tells_how_many_steps_there_are() -> None:
    found, extract = shown(
        [f"{RAY}INFO:2026-11-30 02:30:27,435:Total training steps: 96", RAY + STEP.format(1, 0, "")], 0
    )
    assert extract.total == 96
    assert found[1].startswith("1/96")
    assert shown([RAY + STEP.format(1, 0, "")], 0)[0][1].split()[0] == "1", "and without that there is no end"


def test_every_line_fits_80_columns() -> None:
    high = " - aflow/run/best_score:1.0 - aflow/run/best_score_low:-0.5 - aflow/run/best_score_high:1.0"
    steps = [RAY + STEP.format(step, -10.5, f"{high} - aflow/run/cost_usd:1234.5678") for step in (1, 99999)]
    found, _ = shown([*steps, f"{RAY}ERROR:2026-11-30 02:34:14,071:{'x' * 500}"], 100000)
    assert max(map(len, found)) <= 80


def test_the_rest_of_the_log_is_not_shown() -> None:
    found, _ = shown([*(RAY + line for line in NOISE), *NOISE])
    assert found == []


def test_the_stages_of_the_start_are_told_with_the_time() -> None:
    found, extract = shown(
        [
            "2026-11-30 02:30:09,181\tINFO worker.py:2038 -- Started a local Ray instance.",
            f"{RAY}INFO:2026-11-30 02:30:39,902:actor and ref model engine initialized",
        ]
    )
    assert found == [" 0:10  Ray is up, the trainer loads", " 0:20  the rollout server starts"]
    assert extract.stage == "the rollout server starts"


def test_what_we_say_is_shown_once_and_unmarked() -> None:
    lines = ["aflow_env: best, test  0.850", "aflow_env:  of 3", "aflow_env: best, test  0.850"]
    assert shown(RAY + line for line in lines)[0] == ["best, test  0.850", " of 3"]


def test_a_sentence_of_ours_goes_on_at_the_edge_below() -> None:
    """Its words alone, also where a line is full to its last column."""
    found, _ = shown([f"{RAY}aflow_env: {'x' * WIDTH} and on"])
    assert found == ["x" * WIDTH, "and on"]


def test_an_error_of_a_worker_is_shown_with_its_cause() -> None:
    worker = "(AgentLoopWorkerTQ pid=3) "
    found, extract = shown(
        [
            f"{worker}ERROR:2026-11-30 02:34:14,071:Error in _run_prompt for uid=4",
            f"{worker}Traceback (most recent call last):",
            f'{worker}  File "x.py", line 3, in f',
            "(CpuServer pid=4) ValueError: of another worker",
            f"{worker}aflow_env.errors.InfrastructureError: the server at http://x answers 503",
            "(CpuServer pid=4) (EngineCore pid=5) ERROR 11-30 02:31:10 [core.py:9] engine died",
            "(raylet) [2026-11-30 02:31:10] 1 Workers were killed due to memory pressure (OOM)",
        ]
    )
    assert found == [
        f"{worker}ERROR:2026-11-30 02:34:14,071:Error in _run_prompt fo…",
        "aflow_env.errors.InfrastructureError: the server at http://x answers 503",
        "(CpuServer pid=4) (EngineCore pid=5) ERROR 11-30 02:31:10 [core.py:9] engine di…",
        "(raylet) [2026-11-30 02:31:10] 1 Workers were killed due to memory pressure (OO…",
    ]
    assert extract.ending(0) == [], "the run goes on"


def test_errors_without_end_do_not_flood_the_screen() -> None:
    found, _ = shown([f"{RAY}ERROR:2026-11-30 02:34:14,071:again"] * 500)
    assert len(found) == MOST_ERRORS + 1
    assert "log alone" in found[-1]


def test_a_run_that_fails_ends_with_the_innermost_frames_and_the_message() -> None:
    """Of Hydra's print of the driver's error, which holds the worker's own; frames of Hydra and Ray come first."""
    traceback = [
        "Error executing job with overrides: ['trainer.experiment_name=x']",
        "Traceback (most recent call last):",
        *(f'  File "ray/{number}.py", line 1, in get' for number in range(20)),
        "ray.exceptions.RayTaskError(RuntimeError): ray::TaskRunnerV1.run() (pid=7)",
        '  File "trainer.py", line 9, in _step_once',
        "RuntimeError: every session of this step failed",
        "",
        "Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.",
    ]
    said = shown(traceback)[1].ending(1)
    assert said[0] == "failed:"
    assert len(said) == LAST_WORDS + 1
    assert said[-3:] == traceback[-5:-2]


def test_a_death_is_told_once_and_rays_traceback_of_it_is_not() -> None:
    died = "aflow_env: the run ends because a part of it died. It was vLLM's EngineCore (pid 12)."
    found, extract = shown([RAY + died, "Traceback (most recent call last):", "ray.exceptions.ActorDiedError: x", died])
    assert found == [died.removeprefix("aflow_env: ")]
    assert extract.ending(1) == []


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        ([TRACEBACK, '  File "x"', "KeyboardInterrupt"], 130, "ended by Ctrl-C; the same"),
        ([TRACEBACK, '  File "x"', "ValueError: y"], 1, "ValueError: y"),
        ([TRACEBACK, "OSError: handled", TRACEBACK, "ValueError: y"], 1, "ValueError: y"),
        (["Exception ignored in: <function Tracking.__del__>", TRACEBACK, "OSError: x"], 3, "failed: exit status 3"),
        ([], 130, "ended by Ctrl-C; the same"),
    ],
)
def test_the_end_is_explained_by_the_last_traceback(lines: list[str], status: int, said: str) -> None:
    """Ctrl-C is no failure, an exception that Python passes over explains nothing, and a status stands for itself."""
    *_, last = shown(lines)[1].ending(status)
    assert last.startswith(said)


def test_the_exit_status_decides_whether_a_run_failed() -> None:
    """A traceback that the driver has printed and handled makes no failure of a good run."""
    lines = ["WARNING:wandb: retrying", TRACEBACK, '  File "x"', "ConnectionError: handled", "going on"]
    assert shown(lines)[1].ending(0) == []
