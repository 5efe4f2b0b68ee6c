# SPDX-License-Identifier: Apache-2.0
"""The lines of a training's log: read those of verl, Ray and vLLM, mark ours, extract the ones for the screen.

On the screen each line has at most 80 columns. It shows one line a step, from those of verl's console logger; the
stages of the start; marked lines of ours; errors of the workers, and at the end that of the driver.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import wrap

from aflow_env.screen import WIDTH, duration, fit

MARK = "aflow_env: "
"""Begins each line of ours that is meant for the screen."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_WORKER = re.compile(r"^\((?:[^()\n]*\bpid=\d+[^()\n]*|raylet[^()\n]*)\) ")
_STEP = re.compile(r"step:(\d+) - (.*)")
_NUMBER = re.compile(r"(?:np\.\w+\()?(-?(?:\d+\.?\d*(?:e[+-]?\d+)?|inf|nan))\)?")
STAGES = (
    ("Started a local Ray instance", "Ray is up, the trainer loads"),
    ("Connected to Ray cluster", "connected to Ray, the trainer loads"),
    ("worker group kwargs", "the workers load the policy"),
    ("actor and ref model engine initialized", "the rollout server starts"),
    ("all initialize finished", "the first searches begin"),
)
"""A part of a line by Ray or verl, and the stage of the start that it begins."""
HEAD = "step    return  valid   best  95 % interval  Q corr        USD   sec   left"
DIED = "the run ends because a part of it died"
MOST_ERRORS = 10
"""Error lines of workers that are shown; the log has them all."""
INTERRUPTED = 130
"""The exit status after Ctrl-C."""
LAST_WORDS = 12
"""Lines of a traceback that are shown: its innermost frames and the message."""
_TOTAL = re.compile(r"Total training steps: (\d+)")
_ERROR = re.compile(r"(?:\(\w+ pid=\d+\) )?(?:ERROR[: ]|\d{4}-\d\d-\d\d [\d:,]+ - ERROR - )")
_CAUSE = re.compile(r"[\w.]*(?:Error|Exception|Exhausted|Timeout)\w*: ")
_KILLED = re.compile(r"(?:died|killed|crashed)\b", re.IGNORECASE)
_FAILED = ("Error executing job with overrides", "Traceback (most recent call last)")
_HINT = "Set the environment variable HYDRA_FULL_ERROR=1"


def read_line(raw: str) -> tuple[str, str]:
    """Return a line's worker (Ray's prefix with a space after it, "" for the driver), and its text without colours."""
    plain = _COLOUR.sub("", raw).rstrip()
    found = _WORKER.match(plain)
    return (found[0], plain[found.end() :]) if found else ("", plain)


def marked(text: str) -> str:
    """Return the text with the mark before every line."""
    return "\n".join(f"{MARK}{line}".rstrip() for line in text.strip("\n").splitlines())


def mark_warnings() -> None:
    """Let this process print the package's warnings as marked lines, too."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(f"{MARK}%(message)s"))
    logging.getLogger("aflow_env").addHandler(handler)


def step_metrics(text: str) -> tuple[int, dict[str, float]] | None:
    """Return step and metrics of a line by verl's console logger, None for any other line."""
    found = _STEP.match(text)
    if not found:
        return None
    pairs = (part.partition(":")[::2] for part in found[2].split(" - "))
    return int(found[1]), {name: float(number[1]) for name, value in pairs if (number := _NUMBER.fullmatch(value))}


def metrics_of(log: str) -> dict[int, dict[str, float]]:
    """Return all metrics in a log of verl's console logger, by step."""
    steps: dict[int, dict[str, float]] = {}
    for raw in log.splitlines():
        if found := step_metrics(read_line(raw)[1]):
            steps.setdefault(found[0], {}).update(found[1])
    return steps


@dataclass
class Extract:
    """Fed the log line by line; `total` is the number of steps, 0 where only verl knows it."""

    total: int
    began: float
    step: int = 0
    left: str = ""
    stage: str = "Ray starts"
    _run: dict[str, float] = field(default_factory=dict)
    _first: tuple[int, float] | None = None
    _errors: int = 0
    _erring: str = ""
    _shown: set[str] = field(default_factory=set)
    _failure: list[str] = field(default_factory=list)
    _previous: str = ""

    def read(self, raw: str, now: float) -> Iterator[str]:
        """Yield the lines for the screen that this line of the log gives, at the time `now` in seconds."""
        worker, text = read_line(raw)
        if found := step_metrics(text):
            yield from self._metrics(*found, now)
        elif text.startswith(MARK):
            yield from self._ours(text.removeprefix(MARK))
        elif stage := next((stage for part, stage in STAGES if part in text), None):
            self.stage = stage
            yield f"{duration(now - self.began):>5}  {stage}"
        elif total := _TOTAL.search(text):
            self.total = int(total[1])
        elif worker:
            yield from self._error(worker, text)
        else:
            self._drivers(text)
        self._previous = text

    def ending(self, status: int) -> list[str]:
        """Return why the driver ended with this exit status, by the last traceback that it printed."""
        if status == 0 or any(DIED in line for line in self._shown):
            return []
        if status == INTERRUPTED:
            return ["ended by Ctrl-C; the same command goes on from the last checkpoint"]
        words = [line for line in self._failure if line.strip() and not line.startswith(_HINT)]
        return ["failed:", *words[-LAST_WORDS:]] if words else [f"failed: exit status {status}"]

    def _metrics(self, step: int, metrics: dict[str, float], now: float) -> Iterator[str]:
        run = {name: value for name, value in metrics.items() if name.startswith("aflow/run/")}
        self._run = run or self._run  # not merged: a bill that became unknown is missing
        if "timing_s/step" not in metrics:
            return
        if self._first is None:
            yield HEAD
        first, began = self._first or (step, now - metrics["timing_s/step"])
        self._first = (first, began)
        self.step, self.stage = step, "training"
        self.left = duration((now - began) / (step - first + 1) * (self.total - step)) if self.total else "-"
        yield fit(self._row(metrics), WIDTH)

    def _row(self, metrics: dict[str, float]) -> str:
        def figure(name: str, form: str, width: int) -> str:
            return f"{figures[name]:{form}}".rjust(width) if name in figures else "-".rjust(width)

        figures = metrics | self._run
        low, high = (figures.get(f"aflow/run/best_score_{end}") for end in ("low", "high"))
        between = "-" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"
        place = f"{self.step}/{self.total}" if self.total else str(self.step)
        columns = (
            figure("aflow/episode_return", ".3f", 6),
            figure("aflow/valid_rate", ".2f", 5),
            figure("aflow/run/best_score", ".3f", 5),
            between.rjust(13),
            figure("aflow/q_corr", ".2f", 6),
            figure("aflow/run/cost_usd", ".4f", 9),
            figure("timing_s/step", ".1f", 4),
            self.left.rjust(5),
        )
        return f"{place:<7} {'  '.join(columns)}"

    def _ours(self, text: str) -> Iterator[str]:
        if text not in self._shown:
            self._shown.add(text)
            yield from wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)

    def _error(self, worker: str, text: str) -> Iterator[str]:
        """Tell of an error that a worker logged, of its cause, and of a worker that Ray's daemon saw die."""
        caused = worker == self._erring and _CAUSE.match(text)
        if _ERROR.match(text) or ("raylet" in worker and _KILLED.search(text)):
            self._errors += 1
            self._erring = worker
        elif caused:
            self._erring = ""
        else:
            return
        if self._errors <= MOST_ERRORS:
            yield fit(text if caused else f"{worker}{text}", WIDTH)
        elif self._errors == MOST_ERRORS + 1 and not caused:
            yield "further errors of workers are in the log alone"

    def _drivers(self, text: str) -> None:
        """Keep the driver's last traceback: it explains the end of a run that fails."""
        if text.startswith(_FAILED) and not self._previous.startswith("Exception"):
            self._failure = [text]
        elif self._failure:
            self._failure.append(text)
