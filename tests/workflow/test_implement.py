# SPDX-License-Identifier: Apache-2.0
"""From an edit or a model's reply to a program."""

import pytest

from aflow_env.workflow.edits import InvalidEdit, apply_edit, parse_edit
from aflow_env.workflow.gate import check
from aflow_env.workflow.implement import implement_rule, implementer_prompt, parse_modification, to_program
from aflow_env.workflow.steps import NotNormalForm, Step, to_steps, to_workflow
from tests.workflow.examples import CODE, CODE_TASK, LOOPS, MATH_TASK, REALISTIC

GRAPH = LOOPS.graph.strip()
PROMPTS = LOOPS.prompts.strip()


def test_the_rule_writes_the_edited_list() -> None:
    steps = (Step("Custom", "Solve it."),)
    edit = parse_edit('{"operation": "add", "operator": "ScEnsemble", "position": 2}')
    child = implement_rule(to_workflow(steps, MATH_TASK), edit, MATH_TASK)
    assert to_steps(child) == apply_edit(steps, edit, MATH_TASK)


def test_the_rule_refuses_what_it_cannot_read() -> None:
    with pytest.raises(NotNormalForm):
        implement_rule(LOOPS, parse_edit('{"operation": "remove", "position": 1}'), MATH_TASK)


def test_the_prompt_shows_all_that_the_implementer_needs() -> None:
    text = implementer_prompt(CODE, "Drop the {braces} test.", CODE_TASK)
    assert CODE.graph.strip() in text
    assert CODE.prompts.strip() in text
    assert "Drop the {braces} test." in text
    assert "__call__(self, problem, entry_point)" in text
    assert "12. Revise" in text
    assert "entry_point" not in implementer_prompt(LOOPS, "", MATH_TASK)


@pytest.mark.parametrize(
    "reply",
    [
        f"<modification>Vote.</modification><graph>{GRAPH}</graph><prompt>{PROMPTS}</prompt>",
        f"Sure!\n<modification>\nVote.\n</modification>\n<graph>\n```python\n{GRAPH}\n```\n</graph>\n<prompt>\n```\n{PROMPTS}\n```\n</prompt>",
        f"<modification>Vote.<graph>{GRAPH}<prompt>{PROMPTS}",
        f"Now <graph>:\n<modification>Vote.</modification><graph>{GRAPH}</graph><prompt>{PROMPTS}</prompt>",
    ],
    ids=["plain", "fenced", "unclosed", "announced"],
)
def test_a_reply_is_read_as_it_was_meant(reply: str) -> None:
    found = parse_modification(reply)
    assert (found.modification, found.graph, found.prompts) == ("Vote.", GRAPH, PROMPTS)
    program = to_program(found, MATH_TASK)
    check(program, MATH_TASK)
    assert program.digest == LOOPS.digest


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no <graph>"),
        ("<modification>x</modification>", "no <graph>"),
        ("<graph>def f(): pass</graph>", "no <graph>"),
        ("x" * 100_001, "longer than"),
    ],
)
def test_a_reply_without_a_graph_is_refused(reply: str, reason: str) -> None:
    with pytest.raises(InvalidEdit, match=reason):
        parse_modification(reply)


@pytest.mark.parametrize("name", REALISTIC)
def test_missing_import_lines_are_added(name: str) -> None:
    workflow, task = REALISTIC[name]
    lines = workflow.graph.split("\n")
    bare = "\n".join(line for line in lines if not line.startswith(("import workspace", "from scripts")))
    program = to_program(parse_modification(f"<graph>{bare}</graph><prompt>{workflow.prompts}</prompt>"), task)
    check(program, task)
    assert program.digest == workflow.digest


def test_present_import_lines_are_kept() -> None:
    program = to_program(parse_modification(f"<graph>{GRAPH}</graph><prompt>{PROMPTS}</prompt>"), MATH_TASK)
    assert program.graph.strip() == GRAPH
