# SPDX-License-Identifier: Apache-2.0
"""The drawings of README.md and docs/architecture.md: `python -m recipe.site.drawings` writes docs/images/*.svg.

Each drawing is written twice, for light and for dark pages. A box is (x, y, width, title, lines below it).
"""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "images"
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


@dataclass(frozen=True)
class Palette:
    """Colours of one theme."""

    ink: str
    soft: str
    line: str
    fill: str
    accent: str


PALETTES = {
    "light": Palette(ink="#1f2328", soft="#59636e", line="#8c959f", fill="#f6f8fa", accent="#0969da"),
    "dark": Palette(ink="#e6edf3", soft="#9198a1", line="#6e7681", fill="#161b22", accent="#58a6ff"),
}


def box(palette: Palette, x: int, y: int, width: int, title: str, *lines: str) -> str:
    """Draw a rounded box with a title and small lines below it."""
    height = 30 + 16 * len(lines)
    texts = "".join(
        f"<text x='{x + 12}' y='{y + 38 + 16 * row}' font-size='11.5' fill='{palette.soft}'>{line}</text>"
        for row, line in enumerate(lines)
    )
    frame = f"width='{width}' height='{height}' rx='6' fill='{palette.fill}' stroke='{palette.line}'"
    return (
        f"<rect x='{x}' y='{y}' {frame}/>"
        f"<text x='{x + 12}' y='{y + 20}' font-size='13' font-weight='bold' fill='{palette.ink}'>{title}</text>{texts}"
    )


def arrow(palette: Palette, x1: int, y1: int, x2: int, y2: int) -> str:
    """Draw a straight arrow."""
    return f"<path d='M{x1} {y1}L{x2} {y2}' stroke='{palette.accent}' stroke-width='1.6' marker-end='url(#head)'/>"


def sheet(palette: Palette, width: int, height: int, *parts: str) -> str:
    """Return a whole SVG file."""
    head = (
        "<defs><marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0L8 4L0 8z' fill='{palette.accent}'/></marker></defs>"
    )
    body = "\n".join(parts)
    size = f"viewBox='0 0 {width} {height}' width='{width}' height='{height}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT}>\n{head}\n{body}\n</svg>\n"


def loop(palette: Palette) -> str:
    """Draw one round of a search, and the training by its experience."""
    p = palette
    caption = f"<text x='16' y='252' font-size='11.5' fill='{p.soft}'>"
    return sheet(
        p,
        840,
        268,
        box(p, 16, 16, 180, "propose", "the policy writes edits", "of the best workflows"),
        box(p, 226, 16, 180, "gate", "valid, new, small enough", "programs stay open"),
        box(p, 436, 16, 180, "predict and select", "(1 - w) UCB(s) +", "w Q(s, a)"),
        box(p, 646, 16, 178, "evaluate", "sandbox, scorer, and the", "executor: Claude, any, own"),
        arrow(p, 196, 46, 224, 46),
        arrow(p, 406, 46, 434, 46),
        arrow(p, 616, 46, 644, 46),
        box(p, 646, 150, 178, "store", "one SQLite file a run:", "resume, report, tree"),
        box(p, 436, 150, 180, "rows", "one an edit, one a", "prediction"),
        box(p, 226, 150, 180, "GiGPO", "whole sessions, and steps", "from the same workflow"),
        box(p, 16, 150, 180, "verl", "FSDP update of Qwen2.5,", "weights to vLLM"),
        arrow(p, 735, 78, 735, 148),
        arrow(p, 646, 180, 618, 180),
        arrow(p, 436, 180, 408, 180),
        arrow(p, 226, 180, 198, 180),
        arrow(p, 106, 150, 106, 80),
        f"{caption}Above: one round of a search. Below: training on its experience. A search also runs alone.</text>",
    )


BANDS = (
    (
        "touch",
        (("cli/", "aflow-env VERB"), ("report/", "tables, pages"), ("sweep/", "jobs"), ("plugin.py", "verl loads it")),
    ),
    (
        "learn",
        (
            (
                "training/",
                "all that touches verl: rollout, trainer, launch, nodes, hardware, tiny_policy, verl_patches",
            ),
            ("rl/", "GiGPO, rewards"),
        ),
    ),
    ("search", (("search/", "select, propose, predict, expand"), ("store/", "nodes, records, SQLite, findings"))),
    (
        "run a workflow",
        (
            ("evaluation/", "score"),
            ("sandbox/", "jail"),
            ("llm/", "clients"),
            ("tasks/", "benchmarks"),
            ("workflow/", "programs"),
            ("config/", "schema"),
        ),
    ),
)


def house(palette: Palette) -> str:
    """Draw the rooms of the package: four bands, each of which uses only those below it."""
    parts, y = [], 12
    for band, rooms in BANDS:
        parts.append(f"<text x='12' y='{y + 28}' font-size='12' fill='{palette.accent}'>{band}</text>")
        weights = [max(len(name) + 3, len(text)) for name, text in rooms]
        free, x = 700 - 10 * (len(rooms) - 1), 124
        for (name, text), weight in zip(rooms, weights, strict=True):
            width = round(free * weight / sum(weights))
            parts.append(box(palette, x, y, width, name, text))
            x += width + 10
        y += 62
    return sheet(palette, 840, y, *parts)


DRAWINGS = {"loop": loop, "house": house}


def drawings() -> dict[str, str]:
    """File name -> SVG text of every drawing in every theme."""
    return {
        f"{name}-{theme}.svg": draw(palette) for name, draw in DRAWINGS.items() for theme, palette in PALETTES.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, text in drawings().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
