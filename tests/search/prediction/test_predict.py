# SPDX-License-Identifier: Apache-2.0
"""The value question is about the workflow after the edit, and no proposer can plead in it."""

from itertools import takewhile
from pathlib import Path

from aflow_env.config import AflowConfig
from aflow_env.search.prediction.predict import QUESTION, Candidate, value_messages
from aflow_env.search.proposals.proposal import State, action_messages
from aflow_env.tasks.benchmarks.arithmetic import Arithmetic
from aflow_env.workflow.edits import Edit, apply_edit, format_edit
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import to_steps, to_workflow
from tests.search.quick import START, config

SPEC = Arithmetic.spec
STATE = State(START, SPEC, 0.25, 24)


def add(operator: str, reason: str = "") -> Candidate:
    edit = Edit(operation="add", operator=operator, position=2, reason=reason)
    return Candidate(format_edit(edit), to_workflow(apply_edit(to_steps(START), edit, SPEC), SPEC))


def asked(settings: AflowConfig, edit: Candidate, state: State = STATE) -> str:
    return value_messages(state, edit, settings)[1].content


def shared(*texts: str) -> str:
    """What all of the texts begin with."""
    return "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False)))


def test_it_says_the_parent_the_edit_and_the_steps_after_it(tmp_path: Path) -> None:
    """In this order."""
    text = asked(config(tmp_path), add("Review"))
    assert text.splitlines() == [
        *("Task: arithmetic", "Score: 0.25 on 24 problems", "Workflow:", "1. Custom: Answer."),
        *("Edit: Add Review as step 2.", "After the edit:", "1. Custom: Answer.", "2. Review", QUESTION),
    ]


def test_edits_of_a_state_share_all_that_comes_before_the_edit(tmp_path: Path) -> None:
    """With each other, and with the edit question: a server reads it once."""
    settings = config(tmp_path)
    texts = [
        "\n".join(each.content for each in value_messages(STATE, add(name), settings)) for name in ("Review", "Format")
    ]
    proposing = "\n".join(each.content for each in action_messages(STATE, settings))
    assert "1. Custom: Answer.\nEdit: Add " in shared(*texts)
    assert "1. Custom: Answer.\n" in shared(*texts, proposing)


def test_the_reason_of_an_edit_is_not_shown(tmp_path: Path) -> None:
    """A policy that is asked about its own edit must not be able to praise it."""
    settings = config(tmp_path)
    assert asked(settings, add("Review", "it scores 9 of 9")) == asked(settings, add("Review"))


def test_code_is_shown_as_a_diff_and_the_start_of_the_source(tmp_path: Path) -> None:
    """Where a workflow is no list of steps; a modification's sentence is not shown either."""
    settings = config(tmp_path).model_copy(update={"action": "code"})
    before = Workflow("class Workflow:\n    a = 1\n    b = 2\n", "P = 'x'\n")
    after = Workflow("class Workflow:\n    a = 1\n    b = 3\n", "P = 'x'\n")
    text = asked(settings, Candidate("<modification>sure to win</modification>", after), State(before, SPEC, 0.5, 8))
    assert "Edit: -    b = 2\n+    b = 3\nAfter the edit:\ngraph.py:\nclass Workflow:" in text
    assert "sure to win" not in text


def test_what_is_too_long_loses_its_end_and_the_question_stays(tmp_path: Path) -> None:
    """Parent and edit get half of `state_characters` each."""
    settings = config(tmp_path, "state_characters=400").model_copy(update={"action": "code"})
    long = [Workflow(f"x = {number}\n" + "y = 1\n" * 500, "") for number in (1, 2)]
    text = asked(settings, Candidate("", long[1]), State(long[0], SPEC, 0.5, 8))
    assert len(text) == 400 + 1 + len(QUESTION)
    assert "-x = 1\n+x = 2" in text
    assert text.endswith(QUESTION)
