# SPDX-License-Identifier: Apache-2.0
"""Parts of figures: lines with bands, bars, intervals, legends, and numbers as text."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from aflow_env.report.html.drawing import series
from aflow_env.report.numbers import Mean, range_text
from aflow_env.report.pairs import Groups
from aflow_env.screen import fit

MARKERS = "osD^vP"
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
LABEL = 48  # columns
Places = Mapping[str, int]
"""A group's place, which decides its colour and marker in every figure."""


def lines(points: Mapping[str, Sequence[tuple[int, Mean]]], along: str, places: Places) -> Callable[[Axes], None]:
    """Draw curves with bands. A group's line differs from the others in colour, dash and marker."""

    def draw(axes: Axes) -> None:
        for label, found in points.items():
            place = places[label]
            x, y = [at for at, _ in found], [each.value for _, each in found]
            marker = MARKERS[place % 6] if len(x) < 25 else ""
            axes.plot(x, y, color=series(place), linestyle=DASHES[place % 6], label=short(label), marker=marker)
            low = [each.value if each.low is None else each.low for _, each in found]
            high = [each.value if each.high is None else each.high for _, each in found]
            axes.fill_between(x, low, high, color=series(place), alpha=0.15, linewidth=0)
        axes.set_xlabel(along)
        axes.set_ylabel("score")
        axes.set_ylim(-0.02, 1.02)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        legend(axes)

    return draw


def bars(shares: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> Callable[[Axes], None]:
    """Draw a row of bars for each name, one bar for each group."""

    def draw(axes: Axes) -> None:
        width = 0.8 / len(shares)
        for place, (label, found) in enumerate(shares.items()):
            at = [row - 0.4 + width * (place + 0.5) for row in range(len(names))]
            values = [found.get(name, 0.0) for name in names]
            axes.barh(at, values, height=width, color=series(place), label=short(label))
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("share")
        legend(axes)

    return draw


def legend(axes: Axes) -> None:
    """Put the legend above the plot, where it hides nothing."""
    figure = axes.get_figure()
    assert figure is not None
    figure.legend(loc="outside upper left", ncols=2)


def interval(axes: Axes, centre: Mean, row: int, place: int) -> None:
    """Draw a mean and its interval in a row."""
    colour = series(place)
    if centre.low is not None and centre.high is not None:
        axes.plot([centre.low, centre.high], [row, row], color=colour, linewidth=2)
    axes.plot([centre.value], [row], MARKERS[place % 6], color=colour, markersize=8)


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Name the rows from the top down."""
    axes.set_yticks(range(len(labels)), list(map(short, labels)))
    axes.set_ylim(len(labels) - 0.5, -0.5)


def short(label: str) -> str:
    """Cut a label so that it leaves room for the plot; the table below the figure has it whole."""
    return fit(label, LABEL)


def places_of(groups: Groups) -> Places:
    """Return each group's place."""
    return {label: place for place, label in enumerate(groups)}


def sums(of: Mapping[str, int]) -> str:
    """Return each group's n as text."""
    return ", ".join(f"{label}: n={count}" for label, count in of.items())


def cells(found: Mean, digits: int = 3) -> tuple[str, str, str]:
    """Return three cells of a table: the mean, its interval and n."""
    return f"{found.value:.{digits}f}", range_text(found.low, found.high, digits), str(found.n)
