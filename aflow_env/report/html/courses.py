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
from aflow_env.report.runs import RunRecord

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
    curves = _searches(groups)
    points = {label: band(found) for label, found in curves.items()}
    if not points:
        return None
    places = places_of(groups)
    ends = {label: end for label in points if (end := _end(groups[label])) is not None}

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
        f"searches had made. Runs: {sums({label: len(found) for label, found in curves.items()})}.",
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
        f"n: {sums({label: sum(each.expansions for each in found) for label, found in bins.items()})} expansions."
        f"{_spreads(groups)}",
        draw,
        ("group", "predicted", "score", "95 % interval", "runs", "expansions"),
        [
            (label, f"{each.predicted:.3f}", *cells(each.came), str(each.expansions))
            for label, found in bins.items()
            for each in found
        ],
    )


def _searches(groups: Groups) -> dict[str, list[Curve]]:
    """Return each search's curve of (executor calls, best score so far), without groups that have none."""
    found: dict[str, list[Curve]] = {
        label: [curve for run in runs if not run.trained and (curve := numbers.best_by_calls(run))]
        for label, runs in groups.items()
    }
    return {label: curves for label, curves in found.items() if curves}


def _end(runs: Sequence[RunRecord]) -> tuple[float, Mean] | None:
    """Return the mean number of calls of the searches with a test score, and the mean of these scores."""
    ended = [
        (curve[-1][0], test)
        for run in runs
        if not run.trained and (curve := numbers.best_by_calls(run)) and (test := result(run, "test")) is not None
    ]
    return (fmean(calls for calls, _ in ended), numbers.mean([test for _, test in ended], SCORES)) if ended else None


def _spreads(groups: Groups) -> str:
    """Return a sentence on the spread of predictions within a session: whether Q can choose at all."""
    found = {label: spread for label, runs in groups.items() if (spread := numbers.prediction_spread(runs))}
    if not found:
        return ""
    said = ", ".join(f"{label}: {q:.3f} against {came:.3f}" for label, (q, came) in found.items())
    return (
        f" Standard deviation of predictions within a session, against that of scores: {said}. A Q that is much the "
        "same for all edits cannot tell which one to run."
    )
