# SPDX-License-Identifier: Apache-2.0
"""The figure of score against executor calls, which compares searches at equal spending."""

from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes

from aflow_env.report.html.drawing import Figure, figure, series
from aflow_env.report.html.marks import MARKERS, cells, lines, places_of, sums
from aflow_env.report.numbers import SCORES, Mean, best_by_calls, mean
from aflow_env.report.pairs import Groups, result
from aflow_env.report.runs import RunRecord

POINTS = 24
"""Numbers of calls at which curves are read."""


def spending_curves(groups: Groups) -> Figure | None:
    """Draw the best validate score so far against executor calls, and the test score where searches ended."""
    curves = {
        label: [curve for run in runs if not run.trained and (curve := best_by_calls(run))]
        for label, runs in groups.items()
    }
    points = {label: band(found) for label, found in curves.items() if found}
    if not points:
        return None
    places = places_of(groups)
    ends = {label: end for label in points if (end := _end(groups[label])) is not None}
    draw_curves = lines(points, "executor calls", places)

    def draw(axes: Axes) -> None:
        draw_curves(axes)
        for label, (calls, test) in ends.items():
            colour = series(places[label])
            if test.low is not None and test.high is not None:
                axes.plot([calls, calls], [test.low, test.high], color=colour, linewidth=2)
            axes.plot([calls], [test.value], MARKERS[places[label] % 6], color=colour, markersize=9)

    rows = [(label, str(at), "best so far", *cells(each)) for label, found in points.items() for at, each in found]
    rows += [(label, f"{calls:.0f}", "test", *cells(test)) for label, (calls, test) in ends.items()]
    return figure(
        "spending",
        "Score against executor calls",
        "Lines: best validate score once so many calls were made, mean over searches with its 95 % interval; one that "
        "ended earlier keeps its best. Marks: test score of the best workflow, at the mean number of calls that "
        f"searches had made. Runs: {sums({label: len(curves[label]) for label in points})}.",
        draw,
        ("group", "executor calls", "score of", "score", "95 % interval", "runs"),
        rows,
    )


def band(curves: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, Mean]]:
    """Average curves at even numbers of calls, from where all have scored their start to where the longest ends."""
    begin, end = max(curve[0][0] for curve in curves), max(curve[-1][0] for curve in curves)
    grid = dict.fromkeys(round(begin + (end - begin) * place / POINTS) for place in range(POINTS + 1))
    return [(at, mean([_read(curve, at) for curve in curves], SCORES)) for at in grid]


def _read(curve: Sequence[tuple[int, float]], calls: int) -> float:
    return curve[bisect_right(curve, calls, key=lambda each: each[0]) - 1][1]


def _end(runs: Sequence[RunRecord]) -> tuple[float, Mean] | None:
    """Return the mean number of calls of the searches with a test score, and the mean of these scores."""
    ended = [
        (curve[-1][0], test)
        for run in runs
        if not run.trained and (curve := best_by_calls(run)) and (test := result(run, "test")) is not None
    ]
    return (fmean(calls for calls, _ in ended), mean([test for _, test in ended], SCORES)) if ended else None
