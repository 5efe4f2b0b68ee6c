# SPDX-License-Identifier: Apache-2.0
"""The figures of a report: each a plot, the numbers in it as a table, and a caption that says n and what to read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from aflow_env.report import numbers
from aflow_env.report.drawing import INK, series, svg
from aflow_env.report.marks import (
    MARKERS,
    Places,
    bars,
    height_of,
    interval,
    legend,
    lines,
    name_rows,
    number_text,
    range_text,
)
from aflow_env.report.numbers import SCORES, Effect, Mean
from aflow_env.report.runs import Run
from aflow_env.report.usage import operator_usage

Groups = Mapping[str, Sequence[Run]]
MEASURES = {"test": "test score of the best workflow", "best": "validate score of the best workflow"}


@dataclass(frozen=True)
class Figure:
    """`svg` is an element of the page; `rows` are the plotted numbers under `columns`, as text."""

    name: str
    title: str
    caption: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figures(groups: Groups, effects: Sequence[Effect], baseline: str, measure: str) -> list[Figure]:
    """Every figure that the runs have data for."""
    makers = (
        scores(groups, measure),
        effect_sizes(effects, baseline, measure, _places(groups)),
        search_curves(groups),
        training_curves(groups),
        calibration(groups),
        operators(groups),
        outcomes(groups),
        costs(groups),
    )
    return [figure for figure in makers if figure is not None]


def scores(groups: Groups, measure: str) -> Figure | None:
    """A mean and its interval for each group, each run beside it."""
    values = {label: _results(runs, measure) for label, runs in groups.items()}
    values = {label: found for label, found in values.items() if found}
    if not values:
        return None
    means = {label: numbers.mean(found, SCORES) for label, found in values.items()}

    def draw(axes: Axes) -> None:
        for place, (label, centre) in enumerate(means.items()):
            at = _places(groups)[label]
            axes.plot(values[label], [place + 0.18] * len(values[label]), ".", color=series(at), alpha=0.5)
            interval(axes, centre, place, at)
        name_rows(axes, list(means))
        axes.set_xlabel(MEASURES[measure])

    return Figure(
        "scores",
        "Which group ends best",
        f"Mean over runs with its 95 % interval (Student's t; none for a single run); dots are runs. {_counts(groups)}",
        svg("scores", "Scores by group; the table below holds the numbers", draw, height_of(len(means))),
        ("group", MEASURES[measure], "95 % interval", "runs"),
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
        axes.set_xlabel(f"difference to {baseline}")

    return Figure(
        "effects",
        f"How much better than {baseline}",
        f"Difference in the {MEASURES[measure]}, over pairs of runs with the same task and seed; 95 % interval by a "
        "paired bootstrap. An interval that holds 0 shows no difference. "
        f"Pairs: {', '.join(f'{each.group}: n={each.n}' for each in effects)}.",
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


def search_curves(groups: Groups) -> Figure | None:
    """Best validate score so far against rounds, for searches without training."""
    curves = {label: [curve for run in runs if (curve := numbers.best_so_far(run))] for label, runs in groups.items()}
    bands = {label: numbers.band(found) for label, found in curves.items() if found}
    if not bands:
        return None
    points = {label: [(place, each) for place, each in enumerate(found)] for label, found in bands.items()}
    return Figure(
        "curves",
        "Best so far against the evaluation budget",
        "Best validate score after each round (a round evaluates one workflow, or rejects a proposal), mean over runs "
        f"with its 95 % interval. {_counts({label: curves[label] for label in bands})}",
        svg(
            "curves",
            "Best score against rounds; the table below holds the numbers",
            lines(points, "rounds played", _places(groups)),
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
        f"them), then over runs with its 95 % interval. {_counts({label: groups[label] for label in points})}",
        svg(
            "training",
            "Best score against training steps; the table below holds the numbers",
            lines(points, "step", _places(groups)),
        ),
        ("group", "step", "best of a session", "95 % interval", "runs"),
        _curve_rows(points),
    )


def _spreads(groups: Groups) -> str:
    """How far beliefs differ between the workflows of a run, beside what came: whether Q can choose at all."""
    found = {label: spread for label, runs in groups.items() if (spread := numbers.belief_spread(runs))}
    if not found:
        return ""
    said = ", ".join(f"{label}: {q:.3f} against {came:.3f}" for label, (q, came) in found.items())
    return (
        f" Within a run beliefs differ by (standard deviation), against what came: {said}. A Q that is much the same "
        "for all workflows cannot tell which one to change."
    )


def calibration(groups: Groups) -> Figure | None:
    """Beliefs against what came."""
    bins = {label: found for label, runs in groups.items() if (found := numbers.calibration(runs))}
    if not bins:
        return None

    counts = {label: sum(each.came.n for each in found) for label, found in bins.items()}

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":", label="right on average")
        for label, found in bins.items():
            place = _places(groups)[label]
            beliefs = [each.belief for each in found]
            came = [each.came.value for each in found]
            axes.plot(beliefs, came, marker=MARKERS[place % 6], color=series(place), label=label)
        axes.set_xlabel("Q: believed score of the best child")
        axes.set_ylabel("its score")
        legend(axes)

    return Figure(
        "calibration",
        "Is Q right about what a workflow's best child will score?",
        "Expansions by tenths of belief: mean belief against the mean score of the best child that came. On the "
        f"dotted line beliefs are right on average. n: {_sums(counts)}.{_spreads(groups)}",
        svg("calibration", "Belief against realised score; the table below holds the numbers", draw),
        ("group", "belief", "came", "95 % interval", "expansions"),
        tuple(
            (
                label,
                number_text(each.belief),
                number_text(each.came.value),
                range_text(each.came.low, each.came.high),
                str(each.came.n),
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
        f"n: {_sums({label: found.n for label, found in usage.items()})} workflows.",
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
        f"n: {_sums({label: int(found['n']) for label, found in shares.items()})} runs on problems.",
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
        axes.barh(
            labels,
            [whole[label].value for label in labels],
            height=0.3,
            align="edge",
            color=series(1),
            label="whole run",
        )
        axes.barh(
            labels,
            [searching[label].value for label in labels],
            height=-0.3,
            align="edge",
            color=series(0),
            label="evaluations in the search",
        )
        axes.invert_yaxis()
        axes.set_xlabel("USD a run")
        legend(axes)

    return Figure(
        "costs",
        "What a run costs",
        "Mean over runs. The whole run is what its ledger paid for: what the cache answered costs nothing there, while "
        "the evaluations count what each would cost alone; proposals and the closing test are in the whole run. "
        f"{_counts(groups)}",
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


def _places(groups: Groups) -> Places:
    return {label: place for place, label in enumerate(groups)}


def _results(runs: Sequence[Run], measure: str) -> list[float]:
    return [score for run in runs if (score := numbers.result(run, measure)) is not None]


def _curve_rows(points: Mapping[str, Sequence[tuple[int, Mean]]]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (label, str(at), number_text(each.value), range_text(each.low, each.high), str(each.n))
        for label, found in points.items()
        for at, each in found
    )


def _counts(groups: Mapping[str, Sequence[object]]) -> str:
    return f"Runs: {_sums({label: len(runs) for label, runs in groups.items()})}."


def _sums(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{label}: n={count}" for label, count in counts.items())
