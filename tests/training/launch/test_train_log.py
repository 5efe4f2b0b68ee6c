# SPDX-License-Identifier: Apache-2.0
"""A driver's output and that of all it starts is in the log, whole, and the screen has an extract of it."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = """
import os, subprocess, sys, time, traceback
import hydra._internal.utils as hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from aflow_env.training.launch import driver, train_log
train_log.at_exit(None)
driver.register_end(hydra)
HydraConfig.initialized = staticmethod(lambda: True)
rollout = {"dtype": "float32"}

def work():
    train_log.begin(OmegaConf.create({
        "aflow": {"task": {"name": "arithmetic"}, "executor": {"kind": "simulated"}},
        "actor_rollout_ref": {"model": {"path": "tiny"}, "rollout": rollout},
        "trainer": {"device": "cpu", "default_local_dir": "runs/x", "total_training_steps": 2},
    }))
    print("noise of the driver")
    subprocess.run(["sh", "-c", "echo noise of a child; echo on its stderr >&2"])
    for step in (1, 2):
        print(f"(TaskRunnerV1 pid=7) step:{step} - timing_s/step:0.5 - aflow/episode_return:0.25")
    try:
        raise ConnectionError("handled")
    except ConnectionError:
        traceback.print_exc()
    print("(TaskRunnerV1 pid=7) aflow_env: best, test  0.850")
    END

hydra.run_and_report(work)
"""


@pytest.fixture
def drivers(tmp_path: Path) -> dict[str, list[str]]:
    """Commands by how they end."""
    ends = {"well": "", "badly": "raise RuntimeError('no more')", "killed": "os.kill(os.getpid(), 9)"}
    ends |= {"interrupted": "raise KeyboardInterrupt", "by a status": "raise SystemExit(4)"}
    return {name: [sys.executable, "-c", DRIVER.replace("END", end)] for name, end in ends.items()}


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, env=os.environ | environment, check=False
    )


def test_the_screen_has_the_extract_and_the_file_all(drivers: dict[str, list[str]], tmp_path: Path) -> None:
    done = run(drivers["well"], tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("log        runs/x/train.log")
    assert "SIMULATED executor" in lines[2]
    assert lines[3].startswith("dtype      float32")
    assert [line.split()[0] for line in lines[4:]] == ["step", "1/2", "2/2", "best,", "log:"]
    assert "runs/x/train.log" in lines[-1]
    assert max(map(len, lines)) <= 80
    assert done.stderr == ""
    written = (tmp_path / "runs" / "x" / "train.log").read_text()
    for noise in ("noise of the driver", "noise of a child", "on its stderr", "step:2 - "):
        assert noise in written


def test_a_resumed_run_writes_on_and_shows_only_its_own(drivers: dict[str, list[str]], tmp_path: Path) -> None:
    run(drivers["well"], tmp_path)
    again = run(drivers["well"], tmp_path)
    assert again.stdout.count("1/2") == 1
    assert (tmp_path / "runs" / "x" / "train.log").read_text().count("step:1 - ") == 2


def test_an_error_is_on_the_screen_and_its_traceback_in_the_log(drivers: dict[str, list[str]], tmp_path: Path) -> None:
    done = run(drivers["badly"], tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["RuntimeError: no more", "log: runs/x/train.log"]
    assert "handled" not in done.stdout
    assert "Traceback" in (tmp_path / "runs" / "x" / "train.log").read_text()


@pytest.mark.parametrize(
    ("end", "said"), [("interrupted", "ended by Ctrl-C"), ("by a status", "ConnectionError: handled")]
)
def test_an_end_that_is_no_error_of_hydras_is_told(
    drivers: dict[str, list[str]], tmp_path: Path, end: str, said: str
) -> None:
    """Hydra reports exceptions alone; Ctrl-C and a call of `sys.exit` go past it."""
    done = run(drivers[end], tmp_path)
    assert done.returncode != 0
    assert done.stdout.splitlines()[-2].startswith(said)


def test_a_driver_that_is_killed_has_written_every_line(drivers: dict[str, list[str]], tmp_path: Path) -> None:
    """stdout is a pipe here, which Python would fill by blocks."""
    done = run(drivers["killed"], tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "runs" / "x" / "train.log").read_text().splitlines()[-1].endswith("best, test  0.850")
    assert "train.log" in done.stdout, "the screen had named it at the start"


def test_verls_own_screen_can_be_had(drivers: dict[str, list[str]], tmp_path: Path) -> None:
    done = run(drivers["well"], tmp_path, AFLOW_SCREEN="verl")
    assert "noise of the driver" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_a_terminal_has_a_bar(drivers: dict[str, list[str]], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    slow = [
        *drivers["well"][:2],
        drivers["well"][2].replace(
            'print("(TaskRunnerV1 pid=7) aflow', 'time.sleep(1); print("(TaskRunnerV1 pid=7) aflow'
        ),
    ]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    driver = subprocess.Popen(slow, cwd=tmp_path, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            seen += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    assert driver.wait(timeout=60) == 0
    text = seen.decode(errors="replace")
    assert "step 2/2" in text, text
    assert "━" in text
    assert "noise" not in text


def test_any_other_process_is_left_alone() -> None:
    """No Hydra job, no `aflow:` node: stdout stays."""
    from omegaconf import OmegaConf

    from aflow_env.training.launch import train_log

    train_log.begin(OmegaConf.create({"aflow": {}}))
    assert train_log._opened == []


def test_the_dtype_of_a_cpu_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason where it is the processor's own, alone where the user chose another."""
    from omegaconf import OmegaConf

    from aflow_env.training.launch import train_log

    monkeypatch.setattr(train_log.processor, "flags", lambda: frozenset(("avx512_bf16",)))
    text = "{actor_rollout_ref: {model: {path: p}, rollout: {dtype: DTYPE}}, trainer: {device: cpu}, "
    text += "aflow: {task: {name: t}, executor: {kind: openai}}}"
    said = [train_log.facts(OmegaConf.create(text.replace("DTYPE", name)))[-1] for name in ("bfloat16", "float32")]
    assert said == ["dtype      bfloat16, since the processor has avx512_bf16", "dtype      float32"]
