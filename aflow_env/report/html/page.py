# SPDX-License-Identifier: Apache-2.0
"""The HTML report: one file without network, light or dark as the reader's system.

A figure is a plot, its numbers as a table, and a caption with n and how to read it.
"""

from collections.abc import Sequence
from importlib.metadata import version

from matplotlib.axes import Axes

from aflow_env.report import numbers
from aflow_env.report.html.courses import calibration, fronts, operators, outcomes, search_curves, training_curves
from aflow_env.report.html.drawing import INK, Figure, figure, series
from aflow_env.report.html.marks import cells, interval, legend, name_rows, places_of, short, sums
from aflow_env.report.html.spending import spending_curves
from aflow_env.report.html.templating import render
from aflow_env.report.numbers import SCORES, Mean, range_text
from aflow_env.report.pairs import FEW_PAIRS, Effect, Groups, draws, result
from aflow_env.report.summary import Summary, mean_text, played
from aflow_env.report.verdict import verdict

MEASURES = {"test": "test score of the best workflow", "best": "validate score of the best workflow"}


def page(summary: Summary) -> str:
    """Return the report as HTML."""
    groups, measure = summary.members, summary.measure
    found = [scores(groups, measure), effect_sizes(groups, summary.effects, summary.baseline, measure)]
    drawn = (search_curves, spending_curves, training_curves, calibration, operators, outcomes, fronts, costs)
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
        for row, (label, centre) in enumerate(means.items()):
            seeds = values[label]
            axes.plot(seeds, [row + 0.18] * len(seeds), ".", color=series(places[label]), alpha=0.5)
            interval(axes, centre, row, places[label])
        name_rows(axes, list(means))
        axes.set_xlabel(MEASURES[measure])

    return figure(
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
    places = places_of(groups)

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, linewidth=1)
        for row, each in enumerate(effects):
            interval(axes, Mean(each.difference, each.n, each.low, each.high), row, places[each.group])
        name_rows(axes, [each.group for each in effects])
        axes.set_xlabel(f"difference to {short(baseline)}")

    return figure(
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


def costs(groups: Groups) -> Figure | None:
    """Draw the cost of the search's evaluations and of the whole run."""
    labels = [label for label, runs in groups.items() if numbers.bill(runs)]
    searching = [numbers.mean([sum(each.cost_usd for each in run.rounds) for run in groups[label]]) for label in labels]
    whole = [found for label in labels if (found := numbers.bill(groups[label]))]
    tokens = [numbers.mean([run.tokens for run in groups[label]]) for label in labels]
    if not any(each.value for each in whole):
        return None

    def draw(axes: Axes) -> None:
        for place, height, means, name in ((1, 0.3, whole, "whole run"), (0, -0.3, searching, "evaluations")):
            values = [each.value for each in means]
            axes.barh(range(len(labels)), values, height=height, align="edge", color=series(place), label=name)
        name_rows(axes, labels)
        axes.set_xlabel("USD a run")
        legend(axes)

    return figure(
        "costs",
        "What a run costs",
        "Mean over runs. The whole run is what its ledger paid for: what the cache answered costs nothing there, while "
        "the evaluations count what each would cost alone; proposals and the closing test are in the whole run. Groups "
        "with a call of unknown price are left out. "
        f"Runs: {sums({label: len(runs) for label, runs in groups.items()})}.",
        draw,
        ("group", "whole run, USD", "95 % interval", "runs", "evaluations, USD", "tokens of evaluations"),
        [
            (label, *cells(paid, 4), f"{evaluations.value:.4f}", f"{used.value:,.0f}")
            for label, paid, evaluations, used in zip(labels, whole, searching, tokens, strict=True)
        ],
        len(groups) + 1,
    )
