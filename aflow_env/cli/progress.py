# SPDX-License-Identifier: Apache-2.0
"""Progress of a search on stderr, within 80 columns: a live line on a terminal, plain lines anywhere else.

The time left is this process's mean time a round, times the rounds left. The first Ctrl-C asks for a clean end, the
second ends.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn

from aflow_env.cli.output import cost_text
from aflow_env.llm.budget import Spend
from aflow_env.screen import Screen, duration, fit
from aflow_env.search.session import SearchSession, Turn

NOTE = "Ctrl-C: finishing the rounds under way; Ctrl-C again ends at once"


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
def finishing(say: Callable[[str], None]) -> Iterator[asyncio.Event]:
    """Yield an event that the first SIGINT sets; the second cancels the task that entered the block.

    Use it in the main thread, in a running event loop. Afterwards a SIGINT is Python's KeyboardInterrupt.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asked = asyncio.Event()

    def interrupted() -> None:
        if asked.is_set() and task:
            task.cancel()
        asked.set()
        say(NOTE)

    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGINT)
