# SPDX-License-Identifier: Apache-2.0
"""What a figure is, and what all figures of a report share: places of groups and words for n."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aflow_env.report.html.marks import Places
from aflow_env.report.pairs import Groups


@dataclass(frozen=True)
class Figure:
    """`svg` is an element of the page; `rows` are the plotted numbers under `columns`, as text."""

    name: str
    title: str
    caption: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def places_of(groups: Groups) -> Places:
    """Each group's place."""
    return {label: place for place, label in enumerate(groups)}


def counts(groups: Mapping[str, Sequence[object]]) -> str:
    """How many runs each group has, as a sentence."""
    return f"Runs: {sums({label: len(runs) for label, runs in groups.items()})}."


def sums(of: Mapping[str, int]) -> str:
    """Each group's n."""
    return ", ".join(f"{label}: n={count}" for label, count in of.items())
