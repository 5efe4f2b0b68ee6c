# SPDX-License-Identifier: Apache-2.0
"""The figures of a report: each a plot, the numbers in it as a table, and a caption that says n and what to read."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from aflow_env.report import numbers
from aflow_env.report.html.courses import calibration, operators, outcomes, search_curves, training_curves
from aflow_env.report.html.drawing import INK, series, svg
from aflow_env.report.html.figure import Figure, counts, places_of, sums
from aflow_env.report.html.marks import Places, height_of, interval, legend, name_rows, number_text, range_text, short
from aflow_env.report.numbers import SCORES, Mean
from aflow_env.report.pairs import FEW_PAIRS, Effect, Groups, draws

MEASURES = {"test": "test score of the best workflow", "best": "validate score of the best workflow"}


def figures(groups: Groups, effects: Sequence[Effect], baseline: str, measure: str) -> list[Figure]:
    """Every figure that the runs have data for."""
    makers = (
        scores(groups, measure),
        effect_sizes(effects, baseline, measure, places_of(groups)),
        search_curves(groups),
        training_curves(groups),
        calibration(groups),
        operators(groups),
        outcomes(groups),
        costs(groups),
    )
    return [figure for figure in makers if figure is not None]


def scores(groups: Groups, measure: str) -> Figure | None:
    """A mean and its interval for each group, each seed beside it."""
    drawn = {label: draws(runs, measure) for label, runs in groups.items()}
    values = {label: list(found.values()) for label, found in drawn.items() if found}
    if not values:
        return None
    means = {label: numbers.mean(found, SCORES) for label, found in values.items()}

    def draw(axes: Axes) -> None:
        for place, (label, centre) in enumerate(means.items()):
            at = places_of(groups)[label]
            axes.plot(values[label], [place + 0.18] * len(values[label]), ".", color=series(at), alpha=0.5)
            interval(axes, centre, place, at)
        name_rows(axes, list(means))
        axes.set_xlabel(MEASURES[measure])

    return Figure(
        "scores",
        "Which group ends best",
        "Mean over seeds with its 95 % interval (Student's t; none for a single seed); dots are seeds, each the mean "
        f"of its runs. Seeds: {sums({label: each.n for label, each in means.items()})}.",
        svg("scores", "Scores by group; the table below holds the numbers", draw, height_of(len(means))),
        ("group", MEASURES[measure], "95 % interval", "seeds"),
        tuple(
            (label, number_text(each.value), range_text(each.low, each.high), str(each.n))
            for label, each in means.items()
        ),
    )


def effect_sizes(effects: Sequence[Effect], baseline: str, measure: str, places: Places) -> Figure | None:
    """Differences to the baseline."""
    if not effects:
        return None

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=INK, linewidth=1)
        for place, each in enumerate(effects):
            interval(axes, Mean(each.difference, each.n, each.low, each.high), place, places[each.group])
        name_rows(axes, [each.group for each in effects])
        axes.set_xlabel(f"difference to {short(baseline)}")

    return Figure(
        "effects",
        f"How much better than {baseline}",
        f"Difference in the {MEASURES[measure]}, over pairs with the same task, seed, executor and kind (search or "
        "training), with Student's 95 % interval. An interval that holds 0 shows no difference, nor do fewer than "
        f"{FEW_PAIRS} pairs. Pairs: {sums({each.group: each.n for each in effects})}.",
        svg("effects", f"Differences to {baseline}; the table below holds the numbers", draw, height_of(len(effects))),
        ("group", "difference", "95 % interval", "relative", "pairs"),
        tuple(
            (
                each.group,
                f"{each.difference:+.3f}",
                range_text(each.low, each.high),
                "-" if each.relative is None else f"{100 * each.relative:+.1f} %",
                str(each.n),
            )
            for each in effects
        ),
    )


def costs(groups: Groups) -> Figure | None:
    """Money: evaluations of the search, and everything else."""
    searching = {
        label: numbers.mean([sum(each.cost_usd for each in run.rounds) for run in runs])
        for label, runs in groups.items()
    }
    whole = {label: numbers.mean([run.cost_usd for run in runs]) for label, runs in groups.items()}
    tokens = {label: numbers.mean([run.tokens for run in runs]) for label, runs in groups.items()}
    if not any(each.value for each in whole.values()):
        return None

    def draw(axes: Axes) -> None:
        labels = list(groups)
        names = range(len(labels))
        axes.barh(
            names,
            [whole[label].value for label in labels],
            height=0.3,
            align="edge",
            color=series(1),
            label="whole run",
        )
        axes.barh(
            names,
            [searching[label].value for label in labels],
            height=-0.3,
            align="edge",
            color=series(0),
            label="evaluations in the search",
        )
        name_rows(axes, labels)
        axes.set_xlabel("USD a run")
        legend(axes)

    return Figure(
        "costs",
        "What a run costs",
        "Mean over runs. The whole run is what its ledger paid for: what the cache answered costs nothing there, while "
        "the evaluations count what each would cost alone; proposals and the closing test are in the whole run. "
        f"{counts(groups)}",
        svg("costs", "Cost by group; the table below holds the numbers", draw, height_of(len(groups) + 1)),
        ("group", "whole run, USD", "95 % interval", "evaluations, USD", "tokens of evaluations", "runs"),
        tuple(
            (
                label,
                f"{whole[label].value:.4f}",
                range_text(whole[label].low, whole[label].high, 4),
                f"{searching[label].value:.4f}",
                f"{tokens[label].value:,.0f}",
                str(whole[label].n),
            )
            for label in groups
        ),
    )
