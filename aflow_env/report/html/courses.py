# SPDX-License-Identifier: Apache-2.0
"""Figures of the course of searches and trainings: the best score so far, and predictions against scores."""

from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean

from matplotlib.axes import Axes

from aflow_env.report import numbers
from aflow_env.report.html.drawing import INK, Figure, cells, legend, lines, marker, places_of, series, short, sums
from aflow_env.report.numbers import SCORES, Mean
from aflow_env.report.pairs import Groups, result

POINTS = 24
"""Numbers of calls at which curves are read."""
Curve = Sequence[tuple[int, float]]


def training_curves(groups: Groups) -> Figure | None:
    """Draw the mean best score of a session against training steps."""
    points: dict[str, list[tuple[int, Mean]]] = {}
    for label, runs in groups.items():
        by_step: dict[int, list[float]] = {}
        for run in runs:
            for step, score in numbers.best_by_step(run) if run.trained else []:
                by_step.setdefault(step, []).append(score)
        if by_step:
            points[label] = [(step, numbers.mean(found, SCORES)) for step, found in sorted(by_step.items())]
    if not points:
        return None
    counts = sums({label: max(each.n for _, each in found) for label, found in points.items()})
    return Figure(
        "training",
        "What sessions reach as training goes on",
        "Best score of a session, mean over the sessions of a step (validation sessions where several steps have "
        f"them), then over runs with its 95 % interval. Runs: {counts}.",
        lines(points, "step", places_of(groups)),
        ("group", "step", "best of a session", "95 % interval", "runs"),
        [(label, str(at), *cells(each)) for label, found in points.items() for at, each in found],
    )


def spending_curves(groups: Groups) -> Figure | None:
    """Draw the best validate score so far against executor calls, and the test score where searches ended."""
    points: dict[str, list[tuple[int, Mean]]] = {}
    ends: dict[str, tuple[float, Mean]] = {}
    counts: dict[str, int] = {}
    for label, runs in groups.items():
        searches = [(numbers.best_by_calls(run), result(run, "test")) for run in runs if not run.trained]
        if curves := [curve for curve, _ in searches if curve]:
            counts[label], points[label] = len(curves), band(curves)
        if tested := [(curve[-1][0], test) for curve, test in searches if curve and test is not None]:
            mean_test = numbers.mean([test for _, test in tested], SCORES)
            ends[label] = (fmean(calls for calls, _ in tested), mean_test)
    if not points:
        return None
    places = places_of(groups)

    def draw(axes: Axes) -> None:
        lines(points, "executor calls", places)(axes)
        for label, (calls, test) in ends.items():
            colour = series(places[label])
            if test.low is not None and test.high is not None:
                axes.plot([calls, calls], [test.low, test.high], color=colour, linewidth=2)
            axes.plot([calls], [test.value], marker(places[label]), color=colour, markersize=9)

    rows = [(label, str(at), "best so far", *cells(each)) for label, found in points.items() for at, each in found]
    rows += [(label, f"{calls:.0f}", "test", *cells(test)) for label, (calls, test) in ends.items()]
    return Figure(
        "spending",
        "Score against executor calls",
        "Lines: best validate score once so many calls were made, mean over searches with its 95 % interval; one that "
        "ended earlier keeps its best. Marks: test score of the best workflow, at the mean number of calls that "
        f"searches had made. Runs: {sums(counts)}.",
        draw,
        ("group", "executor calls", "score of", "score", "95 % interval", "runs"),
        rows,
    )


def band(curves: Sequence[Curve]) -> list[tuple[int, Mean]]:
    """Average curves at even numbers of calls, from where all have scored their start to where the longest ends."""

    def read(curve: Curve, calls: int) -> float:
        return curve[bisect_right(curve, calls, key=lambda each: each[0]) - 1][1]

    begin, end = max(curve[0][0] for curve in curves), max(curve[-1][0] for curve in curves)
    grid = dict.fromkeys(round(begin + (end - begin) * place / POINTS) for place in range(POINTS + 1))
    return [(at, numbers.mean([read(curve, at) for curve in curves], SCORES)) for at in grid]


def calibration(groups: Groups) -> Figure | None:
    """Draw predictions against scores."""
    bins = {label: found for label, runs in groups.items() if (found := numbers.calibration(runs))}
    if not bins:
        return None
    places = places_of(groups)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":", label="right on average")
        for label, found in bins.items():
            x, y = [each.predicted for each in found], [each.came.value for each in found]
            axes.plot(x, y, marker=marker(places[label]), color=series(places[label]), label=short(label))
        axes.set_xlabel("Q: predicted score of the edit")
        axes.set_ylabel("its score")
        legend(axes)

    return Figure(
        "calibration",
        "Is Q right about the score of an edit?",
        "Evaluated edits by tenths of their prediction: mean prediction against mean score, each over the means of "
        "runs. On the dotted line predictions are right on average. A search prefers edits with a high prediction. "
        f"n: {sums({label: sum(each.expansions for each in found) for label, found in bins.items()})} expansions.",
        draw,
        ("group", "predicted", "score", "95 % interval", "runs", "expansions"),
        [
            (label, f"{each.predicted:.3f}", *cells(each.came), str(each.expansions))
            for label, found in bins.items()
            for each in found
        ],
    )
