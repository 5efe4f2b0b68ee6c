# SPDX-License-Identifier: Apache-2.0
"""Listeners of a search: progress on stderr, and loggers.

Progress is within 80 columns: a live line on a terminal, plain lines anywhere else. The time left is this process's
mean time a round, times the rounds left. The first Ctrl-C asks for a clean end, the second ends.

A search without a trainer logs (`logger=[wandb,tensorboard,jsonl]`) under the names of a training's metrics.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn

from aflow_env.cli.arguments import needs
from aflow_env.cli.output import cost_text
from aflow_env.config import AflowConfig
from aflow_env.llm.budget import Spend
from aflow_env.report.loggers import LOGGERS, Logger, figures
from aflow_env.screen import Screen, duration, fit
from aflow_env.search.assemble import Assembly
from aflow_env.search.final_report import Report
from aflow_env.search.session import SearchSession, Turn, session_summary
from aflow_env.store.findings import evaluated, rejections
from aflow_env.training.trainer.metrics import q_metrics, session_metrics

NOT_OF_A_SEARCH = ("aflow/episode_return", "aflow/predict_seconds")
"""Training's figures of rewards and of a session's waiting."""


class SearchProgress:
    """A listener of `Search.play`, and a context manager around it. `spent` returns the bill so far."""

    def __init__(self, rounds: int, spent: Callable[[], Spend], console: Screen | None = None) -> None:
        self._rounds = rounds
        self._spent = spent
        self._console = console or Screen(stderr=True)
        self._began = time.monotonic()
        self._turns = 0
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn("{task.fields[facts]}"))
        terminal = self._console.is_terminal
        self._live = Progress(*columns, console=self._console, transient=True, disable=not terminal)
        self._task = self._live.add_task("searching", total=rounds, facts="")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def __call__(self, session: SearchSession, turn: Turn) -> None:
        """Show a round that has ended."""
        self._turns += 1
        played, ended = session.tree.played, turn.ended
        left = duration((time.monotonic() - self._began) / self._turns * (self._rounds - played))
        facts = f"best {session.tree.best().score:.3f}  {left} left  {cost_text(self._spent())}"
        result, change = "rejected", f"{getattr(ended, 'reason', '')}: {ended.modification}"
        if turn.node:
            low, high = turn.node.evaluation.ci95
            predicted = f"predicted {turn.prediction.q:.3f}: " if turn.prediction else ""
            result, change = f"{turn.node.score:.3f} [{low:.2f}, {high:.2f}]", f"{predicted}{ended.modification}"
        far = f"round {played}/{self._rounds}"
        line = f"{far}: {ended.round} from {ended.parent}  {result}"
        self._live.update(self._task, description=far, completed=played, facts=facts, refresh=True)
        self.note(line if self._console.is_terminal else f"{line}  {facts}")
        self.note(f"    {change}")

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(fit(text), soft_wrap=True)


@contextmanager
def finishing(what: str, say: Callable[[str], None]) -> Iterator[asyncio.Event]:
    """Yield an event that the first SIGINT sets; the second cancels the task that entered the block.

    Use it in the main thread, in a running event loop. Afterwards a SIGINT is Python's KeyboardInterrupt.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asked = asyncio.Event()

    def interrupted() -> None:
        if asked.is_set() and task:
            task.cancel()
        asked.set()
        say(f"Ctrl-C: finishing the {what} under way; Ctrl-C again ends at once")

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGINT)


class SearchLog:
    """The loggers of one search. Its steps are rounds; `ended` is a listener of `Search.play`."""

    def __init__(self, assembly: Assembly, loggers: list[Logger]) -> None:
        self._config, self._loggers, self._began = assembly.config, loggers, time.monotonic()
        self._step = max(0, evaluated(assembly.store) + rejections(assembly.store) - 1)  # of the process before

    def ended(self, session: SearchSession, turn: Turn) -> None:
        """Log a round that has ended."""
        self._step = session.tree.played
        if self._loggers:
            self._log(session_figures(session, self._config, time.monotonic() - self._began))

    def end(self, report: Report | None, say: Callable[[str], None]) -> None:
        """Log the closing table, if any, end the loggers, and say where the logs are."""
        if self._loggers:
            self._log(report.metrics if report else {})
        for logger in self._loggers:
            say(logger.end(self._step))

    def _log(self, metrics: dict[str, float]) -> None:
        so_far = figures(self._config.run_dir, time.monotonic() - self._began)
        for logger in self._loggers:
            logger.log({**so_far, **metrics}, self._step)


@contextmanager
def search_log(assembly: Assembly) -> Iterator[SearchLog]:
    """Prepare the search, lock the run's config, then open its loggers: a search that is refused writes nothing.

    Raises ConfigError for a config that the run does not take, and where a part or a library of a logger is missing.
    """
    config = assembly.config
    kinds = [LOGGERS[kind] for kind in config.logger]
    for kind in kinds:
        needs("log", *kind.libraries)
    assembly.prepare()
    with ExitStack() as stack:
        loggers: list[Logger] = [stack.enter_context(closing(kind(config))) for kind in kinds]
        yield SearchLog(assembly, loggers)


def session_figures(session: SearchSession, config: AflowConfig, seconds: float) -> dict[str, float]:
    """Return training's figures of a session so far, without those that a search does not have."""
    predicted = [
        {"parent": turn.state.workflow.digest, "q": turn.prediction.q, "mass": turn.prediction.mass, "q_target": score}
        for turn in session.turns
        if turn.prediction and (score := turn.q_target) is not None
    ]
    facts = {"return": 0.0, "seconds": seconds, "seed": 0, "predict_seconds": 0.0, "predictions": predicted}
    played = [{**session_summary(session), **facts}]
    found = {"aflow/rl_weight": config.rl_weight, **session_metrics(played), **q_metrics(played)}
    return {name: value for name, value in found.items() if name not in NOT_OF_A_SEARCH}
