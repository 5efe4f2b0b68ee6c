# SPDX-License-Identifier: Apache-2.0
"""The console script: what ends a command is said in one paragraph."""

import sys

import pytest

from tests.cli.conftest import Command


def test_a_missing_library_of_training_is_said_with_its_extra(aflow: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installed a search alone and asks for a plan reads what to install."""
    monkeypatch.setitem(sys.modules, "verl", None)
    said = aflow("plan", "recipe_7b_eight_80gb")
    assert said.status == 2
    assert said.err.startswith("aflow-env: verl is not installed")
    assert "aflow-env[cpu]" in said.err
