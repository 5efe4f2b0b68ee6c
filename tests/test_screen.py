# SPDX-License-Identifier: Apache-2.0
"""Untrusted text on a screen: as it is, never obeyed, and never too wide."""

import io
import logging

import pytest
from hypothesis import example, given
from rich.cells import cell_len
from rich.table import Table

from aflow_env.screen import Screen, VisibleFormatter, fit, one_line, plural, visible
from tests.texts import ANY_TEXT, NASTY, obeyed


@given(ANY_TEXT)
@example(NASTY)
def test_visible_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    """Promise: no control code, bidi mark or surrogate is left, the rest stays, and a second pass changes nothing."""
    shown = visible(text)
    assert not obeyed(shown)
    assert visible(shown) == shown
    assert shown == text or not text.isprintable()


@given(ANY_TEXT)
@example(NASTY)
def test_a_line_fits_80_columns(text: str) -> None:
    """Promise: `fit` and `one_line` give one line, and `fit` at most 80 cells of it."""
    assert "\n" not in one_line(text) + fit(text)
    assert cell_len(fit(text)) <= 80


@given(ANY_TEXT)
@example(NASTY)
def test_a_screen_prints_every_string_as_text(text: str) -> None:
    """Promise: titles, cells, columns and lines hold no markup, no emoji code, and no line is wider than 80 cells."""
    out = io.StringIO()
    screen = Screen(file=out)
    table = Table(title=text, box=None)
    table.add_column(text, overflow="fold")
    table.add_row(text)
    screen.print(table)
    screen.print(text)
    assert not obeyed(out.getvalue())
    assert all(cell_len(line) <= 80 for line in out.getvalue().split("\n"))


@pytest.mark.parametrize("text", ["[/INST]", "[/red]", "[answer]", ":free:", "[bold]x[/bold]", "[link=http://x]y[/]"])
def test_brackets_and_colons_are_no_markup(text: str) -> None:
    """Promise: text that rich or a chat template would read as code is printed letter by letter."""
    out = io.StringIO()
    Screen(file=out).print(text)
    assert out.getvalue() == f"{text}\n"


def test_codes_become_escapes_that_python_reads_back() -> None:
    """Promise: ESC, OSC, BEL, bidi marks and surrogates are shown as in a Python string."""
    text = "\x1b]0;title\x07\u202eabc\ud800\x9b31m"
    assert visible(text) == r"\x1b]0;title\x07\u202eabc\ud800\x9b31m"
    assert visible("été 日本 👩‍💻 می‌خواهم\ttab\r\nline") == "été 日本 👩‍💻 می‌خواهم\ttab\nline"


def test_log_lines_are_visible_text() -> None:
    """Promise: what a server sent does not reach the terminal through a warning."""
    record = logging.LogRecord("x", logging.WARNING, "", 0, "server said %s", ("\x1b[31m",), None)
    assert VisibleFormatter().format(record) == r"server said \x1b[31m"


@pytest.mark.parametrize(
    ("number", "nouns", "said"),
    [
        (0, ("run",), "0 runs"),
        (1, ("run",), "1 run"),
        (2000, ("run",), "2,000 runs"),
        (2, ("reply", "replies"), "2 replies"),
    ],
)
def test_a_count_has_the_noun_that_fits_it(number: int, nouns: tuple[str, ...], said: str) -> None:
    """One is singular, and nothing else is."""
    assert plural(number, *nouns) == said
