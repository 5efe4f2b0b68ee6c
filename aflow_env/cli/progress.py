# SPDX-License-Identifier: Apache-2.0
"""How a search is going: a live line with round, best, cost and time left on a terminal, plain lines anywhere else.

Both go to stderr and fit 80 columns. The time left is this process's mean time a round, times the rounds left.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from aflow_env.screen import Screen, fit
from aflow_env.search.rounds import SearchSession, Turn


class SearchProgress:
    """A listener of `Search.play`, and a context manager around it. `cost` tells the USD spent so far."""

    def __init__(self, rounds: int, cost: Callable[[], float], console: Screen | None = None) -> None:
        self._rounds = rounds
        self._cost = cost
        self._console = console or Screen(stderr=True)
        self._began = time.monotonic()
        self._turns = 0
        self._live: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn("{task.fields[facts]}"))
            self._live = Progress(*columns, console=self._console, transient=True)
            self._task = self._live.add_task("searching", total=self._rounds, facts="")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, session: SearchSession, turn: Turn) -> None:
        """One round has ended."""
        self._turns += 1
        played, ended = session.tree.played, turn.ended
        left = (time.monotonic() - self._began) / self._turns * (self._rounds - played)
        facts = f"best {session.tree.best().score:.3f}  {self._cost():.4f} USD  {duration(left)} left"
        if turn.node:
            low, high = turn.node.evaluation.ci95
            result = f"{turn.node.score:.3f} [{low:.2f}, {high:.2f}]"
        else:
            result = "rejected"
        line = f"round {played}/{self._rounds}: {ended.round} from {ended.parent}  {result}"
        if self._live and self._task is not None:
            self._live.update(
                self._task, description=f"round {played}/{self._rounds}", completed=played, facts=facts, refresh=True
            )
        else:
            line = f"{line}  {facts}"
        self._say(line)
        self._say(f"    {_detail(turn)}")

    def note(self, text: str) -> None:
        """Print a line between the rounds'."""
        self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(fit(text), soft_wrap=True)


def _detail(turn: Turn) -> str:
    ended = turn.ended
    said = f"predicted {turn.prediction.q:.3f}: " if turn.prediction else ""
    return f"{said}{ended.modification}" if turn.node else f"{getattr(ended, 'reason', '')}: {ended.modification}"


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
