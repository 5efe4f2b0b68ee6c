# SPDX-License-Identifier: Apache-2.0
"""Print text of a model, a server or a file without obeying the codes in it.

A text may have codes that colour the terminal, move its cursor, rename its window or change the reading direction, and
brackets or colons that rich reads as markup or emoji. `visible` escapes the codes (`\\x1b`, `\\u202e`). A `Screen`
prints visible text and reads no markup.
"""

import io
import logging
import re
import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

WIDTH = 80  # columns of output that goes to no terminal
_NOT_ASCII = re.compile(r"[^ -~\n\t]")
_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji need them


def visible(text: str) -> str:
    """Escape control codes, bidi marks, surrogates and unassigned characters. Line feeds and tabs stay."""
    return _NOT_ASCII.sub(_shown, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Return the visible text with a single space for each run of white space."""
    return visible(" ".join(text.split()))


def fit(text: str, width: int = WIDTH) -> str:
    """Return the visible text on one line of at most `width` columns, cut with an ellipsis."""
    line = Text(visible(text).replace("\n", " ").replace("\t", " "))
    line.truncate(width, overflow="ellipsis")
    return line.plain


def say(text: str, *, error: bool = False) -> None:
    """Print visible text to stdout, or to stderr."""
    print(visible(text), file=sys.stderr if error else sys.stdout, flush=True)


def plural(number: int, one: str, more: str = "") -> str:
    """Return a count with its noun: `1 run`, `2,000 runs`, `2 replies`."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def duration(seconds: float) -> str:
    """Return seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Screen(Console):
    """A console that prints strings without markup, emoji and control codes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if "width" not in options and not self.is_terminal:
            self.width = WIDTH

    def render_str(self, text: str, *arguments: Any, **options: Any) -> Text:
        """Strings of tables and titles come through here too."""
        return super().render_str(visible(text), *arguments, **options)


class VisibleFormatter(logging.Formatter):
    """Formats log records as visible text."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def prepare() -> None:
    """Let this process print any text in any encoding, and print visible text in its log."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if logging.lastResort:
        logging.lastResort.setFormatter(VisibleFormatter())


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
