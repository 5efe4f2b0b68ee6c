# SPDX-License-Identifier: Apache-2.0
"""Figures: matplotlib's lines, bars, intervals and legends as SVG with the page's font and colours, light or dark.

Plots use stand-in colours, which become `var(--...)` in the SVG. The same data gives the same bytes.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from aflow_env.report.numbers import Mean, range_text
from aflow_env.report.pairs import Groups
from aflow_env.screen import fit

SERIES = 6
MARKERS = "osD^vPX"  # one more than colours and dashes: the first 42 groups look different
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
Places = Mapping[str, int]
"""A group's place, which decides its colour and marker in every figure."""
INK, FAINT = "#020202", "#030303"
_VARIABLES = {INK: "currentColor", FAINT: "var(--faint)"} | {
    f"#0101{place:02x}": f"var(--s{place})" for place in range(SERIES)
}
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.axisbelow": True,
}


@dataclass(frozen=True)
class Figure:
    """A plot. `rows` are the plotted numbers under `columns`, as text. It is high enough for `lanes` rows of marks."""

    name: str
    title: str
    caption: str
    draw: Callable[[Axes], None]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    lanes: float = 4.5

    @property
    def svg(self) -> str:
        """The plot as an `<svg>` element with an accessible name, to put into a page as it is."""
        label = escape(f"{self.title}; the table below holds the numbers", quote=True)
        with mpl.rc_context({**_STYLE, "svg.hashsalt": self.name}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has its own fonts
            canvas = Canvas(figsize=(5.2, min(9.0, 1.3 + 0.42 * self.lanes)), layout="constrained")
            axes = canvas.subplots()
            axes.locator_params(nbins=5)
            self.draw(axes)
            out = io.StringIO()
            canvas.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text = out.getvalue()
        text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], count=1, flags=re.DOTALL)
        for size in ("width", "height"):
            text = re.sub(rf'(<svg [^>]*?){size}="[^"]*"', r"\1", text, count=1, flags=re.DOTALL)
        text = re.sub(r'font: [^;"]*?([\d.]+px)[^;"]*', r"font: \1 system-ui, sans-serif", text)
        text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
        parts = "axes|figure|patch|line2d|matplotlib|xtick|ytick|text|legend|Poly|Fill|Line"
        text = re.sub(rf'id="((?:{parts})[^"]*)"', rf'id="{self.name}-\1"', text)
        for stand_in, variable in _VARIABLES.items():
            text = text.replace(stand_in, variable)
        return text.strip()


def series(place: int) -> str:
    """Return the stand-in colour of a series."""
    return f"#0101{place % SERIES:02x}"


def marker(place: int) -> str:
    """Return the marker of a series."""
    return MARKERS[place % len(MARKERS)]


def lines(points: Mapping[str, Sequence[tuple[int, Mean]]], along: str, places: Places) -> Callable[[Axes], None]:
    """Draw curves with bands. A group's line differs from the others in colour, dash and marker."""

    def draw(axes: Axes) -> None:
        for label, found in points.items():
            place = places[label]
            x, y = [at for at, _ in found], [each.value for _, each in found]
            mark = marker(place) if len(x) < 25 else ""
            axes.plot(x, y, color=series(place), linestyle=DASHES[place % SERIES], label=short(label), marker=mark)
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
    canvas = axes.get_figure()
    assert canvas is not None
    canvas.legend(loc="outside upper left", ncols=2)


def intervals(axes: Axes, means: Mapping[str, Mean], places: Places) -> None:
    """Draw a row for each group, with its name, its mean and the interval, from the top down."""
    for row, (label, each) in enumerate(means.items()):
        colour = series(places[label])
        if each.low is not None and each.high is not None:
            axes.plot([each.low, each.high], [row, row], color=colour, linewidth=2)
        axes.plot([each.value], [row], marker(places[label]), color=colour, markersize=8)
    axes.set_yticks(range(len(means)), list(map(short, means)))
    axes.set_ylim(len(means) - 0.5, -0.5)


def short(label: str) -> str:
    """Cut a label so that it leaves room for the plot; the table below the figure has it whole."""
    return fit(label, 48)


def places_of(groups: Groups) -> Places:
    """Return each group's place."""
    return {label: place for place, label in enumerate(groups)}


def sums(of: Mapping[str, int]) -> str:
    """Return each group's n as text."""
    return ", ".join(f"{label}: n={count}" for label, count in of.items())


def cells(found: Mean, digits: int = 3) -> tuple[str, str, str]:
    """Return three cells of a table: the mean, its interval and n."""
    return f"{found.value:.{digits}f}", range_text(found.low, found.high, digits), str(found.n)
