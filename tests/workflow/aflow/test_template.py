# SPDX-License-Identifier: Apache-2.0
"""The operator file of an AFlow workspace: our two operators beside AFlow's ten, in plain Python."""

import asyncio
import sys
from types import ModuleType
from typing import Any

import pytest

from aflow_env.workflow.aflow.template import template_operators
from aflow_env.workflow.signatures import SIGNATURES


class AflowOperator:
    """AFlow's base: an operator has an LLM and a name."""

    def __init__(self, llm: object, name: str = "") -> None:
        self.llm = llm

    def exec_code(self, solution: str, entry_point: str) -> Any:
        """AFlow's Test: "no error", or the cases that failed."""
        return "no error" if "+" in solution else [{"test_fail_case": {"error_type": solution[-1]}}]


def loaded(kind: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the file, with AFlow's operators replaced by AflowOperator."""
    scripts = ModuleType("scripts.operators")
    vars(scripts).update({name: AflowOperator for name in SIGNATURES if name not in ("Vote", "Select")})
    monkeypatch.setitem(sys.modules, "scripts", ModuleType("scripts"))
    monkeypatch.setitem(sys.modules, "scripts.operators", scripts)
    names: dict[str, Any] = {}
    exec(template_operators(kind), names)
    return names


def test_vote_counts_the_task_s_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workflow that the search found votes in AFlow as it did here."""
    vote = loaded("number", monkeypatch)["Vote"](object())
    assert asyncio.run(vote(solutions=["9", "so 4", "4.0"])) == {"response": "so 4"}


def test_select_asks_aflow_s_public_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that passes is chosen, else one of the most common failures."""
    select = loaded("text", monkeypatch)["Select"](object())
    passed = asyncio.run(select(solutions=["a-b", "a+b", "b+a"], entry_point="add"))
    failed = asyncio.run(select(solutions=["1", "a-b", "b"], entry_point="add"))
    assert passed == {"result": True, "solution": "a+b"}
    assert failed == {"result": False, "solution": "a-b"}
