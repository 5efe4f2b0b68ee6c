# SPDX-License-Identifier: Apache-2.0
"""Python's cyclic garbage collector, kept off a search's memory.

A tree only grows and holds no cycles, yet each full collection walks all of it: about a second at 100,000 nodes, in the
middle of whatever a search was doing. What was told is therefore put aside (`gc.freeze`) from time to time. Freed as
ever is what nobody refers to any more; lost, until the process ends, are only cycles that were garbage at such a
moment and outlived the two young generations.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = 1000
"""Rounds between two puttings aside: some 20,000 objects, which a collection walks in a few milliseconds."""
MANY = 20_000
"""Objects that are worth putting aside at once."""


def put_aside(played: int) -> None:
    """After each round that was told: every 1000th time, what there is by now is walked no more."""
    if played % EVERY == 0:
        gc.collect(1)
        gc.freeze()


@contextmanager
def building() -> Iterator[None]:
    """What is built meanwhile stays: nothing is collected, and much of it is put aside in the end."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
        if gc.get_count()[0] > MANY:
            gc.freeze()
    finally:
        if on:
            gc.enable()
