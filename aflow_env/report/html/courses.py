# SPDX-License-Identifier: Apache-2.0
"""Figures of the course of searches: curves, predictions against scores, operators, outcomes."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from aflow_env.report import numbers
from aflow_env.report.html.drawing import INK, Figure, figure, series
from aflow_env.report.html.marks import MARKERS, bars, cells, legend, lines, places_of, short, sums
from aflow_env.report.numbers import SCORES, Mean
from aflow_env.report.pairs import Groups


def search_curves(groups: Groups) -> Figure | None:
    """Draw the best validate score so far against rounds, for searches without training."""
    curves = {
        label: [curve for run in runs if not run.trained and (curve := numbers.best_so_far(run))]
        for label, runs in groups.items()
    }
    return _curves(
        "curves",
        "Best so far against the evaluation budget",
        "Best validate score after each round (a round evaluates one workflow, or rejects a proposal), mean over runs "
        "with its 95 % interval; one that ended earlier keeps its best.",
        groups,
        {label: list(enumerate(numbers.band(found))) for label, found in curves.items() if found},
        ("rounds", "best so far"),
    )


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
    return _curves(
        "training",
        "What sessions reach as training goes on",
        "Best score of a session, mean over the sessions of a step (validation sessions where several steps have "
        "them), then over runs with its 95 % interval.",
        groups,
        points,
        ("step", "best of a session"),
    )


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
            axes.plot(x, y, marker=MARKERS[places[label] % 6], color=series(places[label]), label=short(label))
        axes.set_xlabel("Q: predicted score of the edit")
        axes.set_ylabel("its score")
        legend(axes)

    return figure(
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


def operators(groups: Groups) -> Figure | None:
    """Draw the operators that the evaluated workflows use."""
    usage = {label: numbers.operator_usage(runs) for label, runs in groups.items()}
    return _shares(
        "operators",
        "Which operators workflows use",
        "Share of the distinct evaluated workflows that call the operator. "
        f"n: {sums({label: found.n for label, found in usage.items()})} workflows.",
        {label: found.share for label, found in usage.items()},
        ("group", "operator", "share", "mean score with it", "workflows with it"),
        [
            (label, name, f"{found.share[name]:.2f}", f"{found.score[name]:.3f}", str(found.count[name]))
            for label, found in usage.items()
            for name in sorted(found.share)
        ],
    )


def outcomes(groups: Groups) -> Figure | None:
    """Draw the shares of outcomes."""
    counts = {label: found for label, runs in groups.items() if (found := numbers.outcome_counts(runs))}
    totals = {label: sum(found.values()) for label, found in counts.items()}
    shares = {label: {name: count / totals[label] for name, count in found.items()} for label, found in counts.items()}
    names = sorted({name for found in counts.values() for name in found})
    return _shares(
        "outcomes",
        "How runs of workflows on problems end",
        f"llm_error and budget are the world's doing and in no score. n: {sums(totals)} runs on problems.",
        shares,
        ("group", *names, "n"),
        [
            (label, *(f"{found.get(name, 0.0):.3f}" for name in names), str(totals[label]))
            for label, found in shares.items()
        ],
    )


def fronts(groups: Groups) -> Figure | None:
    """Draw the workflows by cost and score, and the front of each group."""
    found = {label: points for label, runs in groups.items() if (points := numbers.priced(runs))}
    best = {label: numbers.front(groups[label]) or [] for label in found}
    if not found:
        return None
    places = places_of(groups)

    def draw(axes: Axes) -> None:
        for label, points in found.items():
            colour = series(places[label])
            axes.plot(
                [each.usd_a_problem for each in points], [each.score for each in points], ".", color=colour, alpha=0.5
            )
            x, y = [each.usd_a_problem for each in best[label]], [each.score for each in best[label]]
            axes.plot(x, y, drawstyle="steps-post", marker=MARKERS[places[label] % 6], color=colour, label=short(label))
        axes.set_xlabel("USD a problem")
        axes.set_ylabel("score")
        legend(axes)

    return figure(
        "front",
        "What a better score costs",
        "Each dot is a workflow: its mean score on the validate problems of the search against the mean cost of a "
        "problem. The line joins those that no other workflow of the group beats in both. Workflows with a call of "
        f"unknown price are left out. n: {sums({label: len(points) for label, points in found.items()})} workflows.",
        draw,
        ("group", "workflow on the front", "score", "USD a problem"),
        [
            (label, each.digest, f"{each.score:.3f}", f"{each.usd_a_problem:.6f}")
            for label, points in best.items()
            for each in points
        ],
    )


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


def _curves(
    name: str,
    title: str,
    caption: str,
    groups: Groups,
    points: Mapping[str, Sequence[tuple[int, Mean]]],
    axes: tuple[str, str],
) -> Figure | None:
    if not points:
        return None
    runs = sums({label: max(each.n for _, each in found) for label, found in points.items()})
    draw, columns = lines(points, axes[0], places_of(groups)), ("group", *axes, "95 % interval", "runs")
    rows = [(label, str(at), *cells(each)) for label, found in points.items() for at, each in found]
    return figure(name, title, f"{caption} Runs: {runs}.", draw, columns, rows)


def _shares(
    name: str,
    title: str,
    caption: str,
    shares: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> Figure | None:
    names = sorted({name for found in shares.values() for name in found})
    if not names:
        return None
    return figure(name, title, caption, bars(shares, names), columns, rows, len(names) * len(shares) / 2)
