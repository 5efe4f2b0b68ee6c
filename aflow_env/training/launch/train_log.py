# SPDX-License-Identifier: Apache-2.0
"""Write all output of a training to one file, and show an extract of it on the screen.

verl, Ray and vLLM print 1,500 lines of a run of 22 steps. After the checks the driver's stdout and stderr, with the
workers' output from Ray, go to `train.log` in the run folder. They are redirected as file descriptors, so the file has
every line even when the driver is killed. A thread prints the lines that matter (log_lines.py) on the former stdout,
with a progress bar on a terminal. AFLOW_SCREEN=verl leaves everything on the screen.
"""

import atexit
import io
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.progress import BarColumn, Progress, TextColumn

from aflow_env.errors import ConfigError
from aflow_env.screen import Screen
from aflow_env.training.hardware import processor
from aflow_env.training.launch.log_lines import INTERRUPTED, Extract

NAME = "train.log"
LOOK_EVERY = 0.2
_opened: "list[TrainLog]" = []


def at_exit(_: ModuleType) -> None:
    """Let the log outlive Ray: exit handlers run in reverse order, and the janitor registers after this."""
    atexit.register(end)


def begin(config: DictConfig) -> None:
    """Send this process's output to the log of a run that Hydra started; any other process is left alone."""
    if screen() == "verl" or not HydraConfig.initialized() or config.get("aflow") is None:
        return
    end()
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    path, steps = Path(config.trainer.default_local_dir) / NAME, int(config.trainer.total_training_steps or 0)
    first = [f"log        {path}: all that verl, Ray and vLLM print", *facts(config)]
    _opened.append(TrainLog(path, steps, first))


def screen() -> str:
    """Return the choice of AFLOW_SCREEN. Raises ConfigError for one that does not exist."""
    choice = os.environ.get("AFLOW_SCREEN", "extract")
    if choice not in ("extract", "verl"):
        raise ConfigError(f"AFLOW_SCREEN={choice}: set it to extract or verl, or leave it unset for extract")
    return choice


def ended_by(error: BaseException) -> None:
    """Note the exit status of the driver, which this error ends."""
    code = error.code if isinstance(error, SystemExit) else INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    for log in _opened:
        log.status = code if isinstance(code, int) else int(code is not None)


def end() -> None:
    """Restore stdout and stderr, and say where the log is."""
    while _opened:
        _opened.pop().stop()


def facts(config: DictConfig) -> list[str]:
    """Return policy, task and dtype of a run, a line each."""
    rollout, aflow = config.actor_rollout_ref.rollout, config.aflow
    simulated = ", SIMULATED executor" if aflow.executor.kind == "simulated" else ""
    found = processor.flags()
    dtype = processor.reason(found) if rollout.dtype == processor.dtype(found) else rollout.dtype
    return [
        f"policy     {config.actor_rollout_ref.model.path}",
        f"task       {aflow.task.name}{simulated}",
        *([f"dtype      {dtype}"] if config.trainer.device == "cpu" else []),
    ]


class TrainLog:
    """The file in the place of stdout and stderr, and the thread that extracts it below the `first` lines."""

    def __init__(self, path: Path, steps: int, first: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.status = 0
        self._before = {number: os.dup(number) for number in (1, 2)}
        self._screen = Screen(file=os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace", buffering=1))
        self._extract = Extract(steps, time.monotonic())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="aflow-train-log", daemon=True)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[left]}"))
        self._bar = Progress(
            *columns,
            console=self._screen,
            transient=True,
            disable=not self._screen.is_terminal,
            redirect_stdout=False,  # rich would bring the file's lines to the screen
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(self._extract.stage, total=steps or None, left="")
        _flush()
        with path.open("ab") as file:
            self._from = file.tell()
            for number in self._before:
                os.dup2(file.fileno(), number)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True)
        self._say(*first)
        self._bar.start()
        self._thread.start()

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._screen.print(line, soft_wrap=True)

    def stop(self) -> None:
        """Read the rest, restore stdout and stderr, and print the end."""
        _flush()
        self._over.set()
        self._thread.join()
        self._bar.stop()
        for number, before in self._before.items():
            os.dup2(before, number)
            os.close(before)
        self._say(*self._extract.ending(self.status), f"log: {self._path}")
        self._screen.file.close()

    def _follow(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._from)
            rest = b""
            while True:
                over = self._over.wait(LOOK_EVERY)  # before the last reading, so that nothing is missed
                *lines, rest = (rest + file.read()).split(b"\n")
                for line in lines:
                    self._tell(line.decode(errors="replace"))
                if over:
                    return

    def _tell(self, line: str) -> None:
        self._say(*self._extract.read(line, time.monotonic()))
        seen = self._extract
        far = f"step {seen.step}" + f"/{seen.total}" * bool(seen.total) if seen.step else seen.stage
        left = f"{seen.left} left" if seen.left else ""
        self._bar.update(self._task, description=far, completed=seen.step, total=seen.total or None, left=left)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
