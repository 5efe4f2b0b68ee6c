# SPDX-License-Identifier: Apache-2.0
"""The HTML report: one file without network, light or dark as the reader's system.

A figure is a plot, its numbers as a table, and a caption with n and how to read it.
"""

from collections.abc import Sequence
from importlib.metadata import version

from matplotlib.axes import Axes

from aflow_env.report import numbers
from aflow_env.report.html import render
from aflow_env.report.html.courses import calibration, spending_curves, training_curves
from aflow_env.report.html.drawing import (
    INK,
    Figure,
    bars,
    cells,
    intervals,
    legend,
    marker,
    places_of,
    series,
    short,
    sums,
)
from aflow_env.report.numbers import SCORES, Mean, range_text
from aflow_env.report.pairs import FEW_PAIRS, Effect, Groups, draws, result
from aflow_env.report.summary import Summary, mean_text, played
from aflow_env.report.verdict import verdict

MEASURES = {"test": "test score of the best workflow", "best": "validate score of the best workflow"}


def page(summary: Summary) -> str:
    """Return the report as HTML."""
    groups, measure = summary.members, summary.measure
    found = [scores(groups, measure), effect_sizes(groups, summary.effects, summary.baseline, measure)]
    drawn = (spending_curves, training_curves, calibration, outcomes, fronts)
    found += [draw(groups) for draw in drawn]
    return render(
        "report.html.j2",
        summary=summary,
        verdict=verdict(summary),
        figures=[figure for figure in found if figure is not None],
        mean_text=mean_text,
        result=result,
        few_pairs=FEW_PAIRS,
        played=played,
        tasks=", ".join(sorted({str(run.config.get("task.name", "unknown")) for run in summary.runs})),
        version=version("aflow-env"),
    )


def scores(groups: Groups, measure: str) -> Figure | None:
    """Draw a mean and its interval for each group, each seed beside it."""
    values = {label: list(found.values()) for label, runs in groups.items() if (found := draws(runs, measure))}
    if not values:
        return None
    means = {label: numbers.mean(found, SCORES) for label, found in values.items()}
    places = places_of(groups)

    def draw(axes: Axes) -> None:
        for row, (label, seeds) in enumerate(values.items()):
            axes.plot(seeds, [row + 0.18] * len(seeds), ".", color=series(places[label]), alpha=0.5)
        intervals(axes, means, places)
        axes.set_xlabel(MEASURES[measure])

    return Figure(
        "scores",
        "Which group ends best",
        "Mean over seeds with its 95 % interval (Student's t; none for a single seed); dots are seeds, each the mean "
        f"of its runs. Seeds: {sums({label: each.n for label, each in means.items()})}.",
        draw,
        ("group", MEASURES[measure], "95 % interval", "seeds"),
        [(label, *cells(each)) for label, each in means.items()],
        len(means),
    )


def effect_sizes(groups: Groups, effects: Sequence[Effect], baseline: str, measure: str) -> Figure | None:
    """Draw the differences to the baseline."""
    if not effects:
        return None
    gains = {each.group: Mean(each.difference, each.n, each.low, each.high) for each in effects}

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, linewidth=1)
        intervals(axes, gains, places_of(groups))
        axes.set_xlabel(f"difference to {short(baseline)}")

    return Figure(
        "effects",
        f"How much better than {baseline}",
        f"Difference in the {MEASURES[measure]}, over pairs with the same task, seed, executor and kind (search or "
        "training), with Student's 95 % interval. An interval that holds 0 shows no difference, nor do fewer than "
        f"{FEW_PAIRS} pairs. Pairs: {sums({each.group: each.n for each in effects})}.",
        draw,
        ("group", "difference", "95 % interval", "relative", "pairs"),
        [
            (
                each.group,
                f"{each.difference:+.3f}",
                range_text(each.low, each.high),
                "-" if each.relative is None else f"{100 * each.relative:+.1f} %",
                str(each.n),
            )
            for each in effects
        ],
        len(effects),
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
            axes.plot(x, y, drawstyle="steps-post", marker=marker(places[label]), color=colour, label=short(label))
        axes.set_xlabel("USD a problem")
        axes.set_ylabel("score")
        legend(axes)

    return Figure(
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


def outcomes(groups: Groups) -> Figure | None:
    """Draw the shares of outcomes, a row of bars for each outcome."""
    counts = {label: found for label, runs in groups.items() if (found := numbers.outcome_counts(runs))}
    totals = {label: sum(found.values()) for label, found in counts.items()}
    shares = {label: {name: count / totals[label] for name, count in found.items()} for label, found in counts.items()}
    names = sorted({name for found in counts.values() for name in found})
    if not names:
        return None
    return Figure(
        "outcomes",
        "How runs of workflows on problems end",
        f"llm_error and budget are the world's doing and in no score. n: {sums(totals)} runs on problems.",
        bars(shares, names),
        ("group", *names, "n"),
        [
            (label, *(f"{found.get(name, 0.0):.3f}" for name in names), str(totals[label]))
            for label, found in shares.items()
        ],
        len(names) * len(shares) / 2,
    )
