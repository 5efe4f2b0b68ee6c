# SPDX-License-Identifier: Apache-2.0
"""Turn matplotlib plots into SVG with the page's font and colours, light or dark.

Plots use stand-in colours, which become `var(--...)` in the SVG. The same data gives the same bytes.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

SERIES = 6
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
    """`svg` is an element of the page; `rows` are the plotted numbers under `columns`, as text."""

    name: str
    title: str
    caption: str
    svg: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def series(place: int) -> str:
    """Return the stand-in colour of a series."""
    return f"#0101{place % SERIES:02x}"


def figure(
    name: str,
    title: str,
    caption: str,
    draw: Callable[[Axes], None],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    lanes: float = 4.5,
) -> Figure:
    """Draw a figure that is high enough for so many rows of marks."""
    label = f"{title}; the table below holds the numbers"
    return Figure(name, title, caption, _svg(name, label, draw, min(9.0, 1.3 + 0.42 * lanes)), columns, rows)


def _svg(name: str, label: str, draw: Callable[[Axes], None], height: float) -> str:
    """Return a plot as an `<svg>` element with an accessible name, to put into a page as it is."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=(5.2, height), layout="constrained")
        axes = canvas.subplots()
        axes.locator_params(nbins=5)
        draw(axes)
        out = io.StringIO()
        canvas.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], count=1, flags=re.DOTALL)
    for size in ("width", "height"):
        text = re.sub(rf'(<svg [^>]*?){size}="[^"]*"', r"\1", text, count=1, flags=re.DOTALL)
    text = re.sub(r'font: [^;"]*?([\d.]+px)[^;"]*', r"font: \1 system-ui, sans-serif", text)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(label, quote=True)}" ', 1)
    parts = "axes|figure|patch|line2d|matplotlib|xtick|ytick|text|legend|Poly|Fill|Line"
    text = re.sub(rf'id="((?:{parts})[^"]*)"', rf'id="{name}-\1"', text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    return text.strip()
