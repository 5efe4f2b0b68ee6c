# SPDX-License-Identifier: Apache-2.0
"""Workflows by score against cost: the front holds each one that no other beats in both.

Scores are those of the search, means over the nodes of a workflow on validate problems (on training problems where
nothing was validated), and costs are USD of a problem. A workflow with a call of unknown price has no place there.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from aflow_env.store.database import USD_A_PROBLEM
from aflow_env.store.read_only import Reads

JSON = Any
T = TypeVar("T")

NAMES = ("digest", "score", "n", "usd_a_problem", "session", "round", "modification")
SHOWN = 5
"""Workflows of a front in words: those with the best scores."""


def pareto(found: Iterable[T], cost: Callable[[T], float], score: Callable[[T], float]) -> list[T]:
    """Return the items that no other beats in cost and score, the cheapest first; of equals the first."""
    front: list[T] = []
    for each in sorted(found, key=lambda each: (cost(each), -score(each))):
        if not front or score(each) > score(front[-1]):
            front.append(each)
    return front


def workflows(store: Reads) -> list[dict[str, JSON]]:
    """Return each evaluated workflow under NAMES; `usd_a_problem` is None where a price is unknown."""
    sql = (
        f"SELECT digest, avg(score), sum(n), {USD_A_PROBLEM}, session, min(round), modification FROM nodes "
        "WHERE score IS NOT NULL AND n > 0 AND (session LIKE 'train/%') = ? GROUP BY digest ORDER BY min(round), digest"
    )
    rows = store.read(sql, (0,)) or store.read(sql, (1,))
    return [dict(zip(NAMES, row, strict=True)) for row in rows]


def front(store: Reads) -> list[dict[str, JSON]]:
    """Return the workflows on the front, the cheapest first; none where no price is known."""
    priced = [each for each in workflows(store) if each["usd_a_problem"] is not None]
    return pareto(priced, lambda each: float(each["usd_a_problem"]), lambda each: float(each["score"]))


def front_lines(found: list[dict[str, JSON]], shown: int = SHOWN) -> list[str]:
    """Return the front in words, a line a workflow, the best `shown` of them."""
    lines = [f"{each['score']:.3f}  {each['usd_a_problem']:.6f} USD a problem  {each['digest']}" for each in found]
    return lines[-shown:] or ["unknown: no price is known of these workflows' calls"]
