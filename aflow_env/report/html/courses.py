# SPDX-License-Identifier: Apache-2.0
"""The figures of how searches went: curves, predictions against scores, operators, outcomes."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from aflow_env.report import numbers
from aflow_env.report.html.drawing import INK, series, svg
from aflow_env.report.html.figure import Figure, counts, places_of, sums
from aflow_env.report.html.marks import MARKERS, bars, height_of, legend, lines, number_text, range_text, short
from aflow_env.report.numbers import SCORES, Mean
from aflow_env.report.pairs import Groups
from aflow_env.report.usage import operator_usage


def search_curves(groups: Groups) -> Figure | None:
    """Best validate score so far against rounds, for searches without training."""
    curves = {
        label: [curve for run in runs if not run.trained and (curve := numbers.best_so_far(run))]
        for label, runs in groups.items()
    }
    bands = {label: numbers.band(found) for label, found in curves.items() if found}
    if not bands:
        return None
    points = {label: [(place, each) for place, each in enumerate(found)] for label, found in bands.items()}
    return Figure(
        "curves",
        "Best so far against the evaluation budget",
        "Best validate score after each round (a round evaluates one workflow, or rejects a proposal), mean over runs "
        "with its 95 % interval; one that ended earlier keeps its best. "
        f"{counts({label: curves[label] for label in bands})}",
        svg(
            "curves",
            "Best score against rounds; the table below holds the numbers",
            lines(points, "rounds played", places_of(groups)),
        ),
        ("group", "rounds", "best so far", "95 % interval", "runs"),
        _curve_rows(points),
    )


def training_curves(groups: Groups) -> Figure | None:
    """Mean best score of a session against training steps."""
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
    return Figure(
        "training",
        "What sessions reach as training goes on",
        "Best score of a session, mean over the sessions of a step (validation sessions where several steps have "
        f"them), then over runs with its 95 % interval. {counts({label: groups[label] for label in points})}",
        svg(
            "training",
            "Best score against training steps; the table below holds the numbers",
            lines(points, "step", places_of(groups)),
        ),
        ("group", "step", "best of a session", "95 % interval", "runs"),
        _curve_rows(points),
    )


def calibration(groups: Groups) -> Figure | None:
    """Predictions against scores."""
    bins = {label: found for label, runs in groups.items() if (found := numbers.calibration(runs))}
    if not bins:
        return None
    expansions = {label: sum(each.expansions for each in found) for label, found in bins.items()}

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":", label="right on average")
        for label, found in bins.items():
            place = places_of(groups)[label]
            predicted = [each.predicted for each in found]
            came = [each.came.value for each in found]
            axes.plot(predicted, came, marker=MARKERS[place % 6], color=series(place), label=short(label))
        axes.set_xlabel("Q: predicted score of the edit")
        axes.set_ylabel("its score")
        legend(axes)

    return Figure(
        "calibration",
        "Is Q right about the score of an edit?",
        "Evaluated edits by tenths of their prediction: mean prediction against mean score, each over the means of "
        "runs. On the dotted line predictions are right on average. A search prefers edits with a high prediction. "
        f"n: {sums(expansions)} expansions.{_spreads(groups)}",
        svg("calibration", "Predicted against realised score; the table below holds the numbers", draw),
        ("group", "predicted", "score", "95 % interval", "runs", "expansions"),
        tuple(
            (
                label,
                number_text(each.predicted),
                number_text(each.came.value),
                range_text(each.came.low, each.came.high),
                str(each.came.n),
                str(each.expansions),
            )
            for label, found in bins.items()
            for each in found
        ),
    )


def operators(groups: Groups) -> Figure | None:
    """Which operators the evaluated workflows use."""
    usage = {label: operator_usage(runs) for label, runs in groups.items()}
    names = sorted({name for found in usage.values() for name in found.share})
    if not names:
        return None
    return Figure(
        "operators",
        "Which operators workflows use",
        "Share of the distinct evaluated workflows that call the operator. "
        f"n: {sums({label: found.n for label, found in usage.items()})} workflows.",
        svg(
            "operators",
            "Operator usage by group; the table below holds the numbers",
            bars({label: [found.share.get(name, 0.0) for name in names] for label, found in usage.items()}, names),
            height_of(len(names) * max(1, len(usage)) / 2),
        ),
        ("group", "operator", "share", "mean score with it", "workflows with it"),
        tuple(
            (label, name, f"{found.share[name]:.2f}", number_text(found.score[name]), str(found.count[name]))
            for label, found in usage.items()
            for name in names
            if name in found.share
        ),
    )


def outcomes(groups: Groups) -> Figure | None:
    """Shares of outcomes."""
    shares = {label: numbers.outcome_shares(runs) for label, runs in groups.items()}
    shares = {label: found for label, found in shares.items() if found}
    names = sorted({name for found in shares.values() for name in found} - {"n"})
    if not names:
        return None
    return Figure(
        "outcomes",
        "How runs of workflows on problems end",
        "llm_error and budget are the world's doing and in no score. "
        f"n: {sums({label: int(found['n']) for label, found in shares.items()})} runs on problems.",
        svg(
            "outcomes",
            "Outcome shares by group; the table below holds the numbers",
            bars({label: [found.get(name, 0.0) for name in names] for label, found in shares.items()}, names),
            height_of(len(names) * max(1, len(shares)) / 2),
        ),
        ("group", *names, "n"),
        tuple(
            (label, *(f"{found.get(name, 0.0):.3f}" for name in names), f"{found['n']:.0f}")
            for label, found in shares.items()
        ),
    )


def _spreads(groups: Groups) -> str:
    """How far predictions differ between the edits of a session, beside the scores: whether Q can choose at all."""
    found = {label: spread for label, runs in groups.items() if (spread := numbers.prediction_spread(runs))}
    if not found:
        return ""
    said = ", ".join(f"{label}: {q:.3f} against {came:.3f}" for label, (q, came) in found.items())
    return (
        f" Standard deviation of predictions within a session, against that of scores: {said}. A Q that is much the "
        "same for all edits cannot tell which one to run."
    )


def _curve_rows(points: Mapping[str, Sequence[tuple[int, Mean]]]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (label, str(at), number_text(each.value), range_text(each.low, each.high), str(each.n))
        for label, found in points.items()
        for at, each in found
    )
