# SPDX-License-Identifier: Apache-2.0
"""How the series of a figure look."""

import warnings

import pytest

pytest.importorskip("matplotlib", reason="needs aflow-env[report]")

from aflow_env.report.html.drawing import Figure, marker, series


def test_groups_of_a_large_sweep_look_different() -> None:
    """No two of 42 groups share both colour and marker."""
    assert len({(series(place), marker(place)) for place in range(42)}) == 42


def test_letters_that_the_machines_font_lacks_are_no_warning() -> None:
    """The page names the browser's fonts, so that a label in any script is whole and nothing is printed."""
    figure = Figure("name", "title", "caption", lambda axes: axes.set_xlabel("数学"), (), ())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "数学" in figure.svg
