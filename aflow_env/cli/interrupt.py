# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in two steps: the first asks for a clean end, the second ends."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

NOTE = "Ctrl-C: finishing the rounds under way; Ctrl-C again ends at once"


@contextmanager
def finishing(say: Callable[[str], None]) -> Iterator[asyncio.Event]:
    """An event that the first SIGINT sets (and `say` hears of); the second cancels the task that entered this block.

    For the main thread, in a running event loop. Afterwards a SIGINT is Python's KeyboardInterrupt.
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
