# SPDX-License-Identifier: Apache-2.0
"""From an edit or a model's reply to a program."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.config import TaskConfig
from aflow_env.tasks import load_task
from aflow_env.workflow.edits import InvalidEdit, apply_edit, parse_edit
from aflow_env.workflow.gate import check
from aflow_env.workflow.implement import (
    Suggestion,
    implement_rule,
    implementer_prompt,
    parse_change,
    parse_suggestion,
    suggestion_grammar,
)
from aflow_env.workflow.program import Workflow
from aflow_env.workflow.steps import NotNormalForm, Step, to_steps, to_workflow
from tests.workflow.examples import CODE, CODE_TASK, LOOPS, MATH_TASK, REALISTIC

GRAPH = LOOPS.graph.strip()
PROMPTS = LOOPS.prompts.strip()


def test_the_rule_writes_the_edited_list() -> None:
    steps = (Step("Custom", "Solve it."),)
    edit = parse_edit('{"operation": "add", "operator": "ScEnsemble", "position": 2}')
    child = implement_rule(to_workflow(steps, MATH_TASK), edit, MATH_TASK).workflow
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
    found = parse_change(reply, MATH_TASK)
    assert (found.modification, found.workflow) == ("Vote.", Workflow(f"{GRAPH}\n", f"{PROMPTS}\n"))
    check(found.workflow, MATH_TASK)
    assert found.workflow.digest == LOOPS.digest


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
        parse_change(reply, MATH_TASK)


@pytest.mark.parametrize("name", REALISTIC)
def test_missing_import_lines_are_added(name: str) -> None:
    workflow, task = REALISTIC[name]
    lines = workflow.graph.split("\n")
    bare = "\n".join(line for line in lines if not line.startswith(("import workspace", "from scripts")))
    program = parse_change(f"<graph>{bare}</graph><prompt>{workflow.prompts}</prompt>", task).workflow
    check(program, task)
    assert program.digest == workflow.digest


def test_present_import_lines_are_kept() -> None:
    program = parse_change(f"<graph>{GRAPH}</graph><prompt>{PROMPTS}</prompt>", MATH_TASK).workflow
    assert program.graph.strip() == GRAPH


SPEC = load_task(TaskConfig(name="arithmetic")).spec


def test_a_suggestion_is_found_in_free_text() -> None:
    text = 'I would say: {"operation": "add", "operator": "Review", "position": 2, "reason": "Slips stay unseen."} ok?'
    said = parse_suggestion(text, SPEC)
    assert said == Suggestion(operation="add", operator="Review", reason="Slips stay unseen.")
    assert said.sentence() == "Add a step (Review). Slips stay unseen."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("add a review", "no JSON object"),
        ('{"operation": "explode"}', "operation"),
        ('{"operation": "add", "reason": "more"}', "add needs an operator"),
        ('{"operation": "replace", "operator": "Oracle"}', "'Oracle' is not allowed"),
        ('{"operation": "remove", "reason": "' + "x" * 400 + '"}', "reason"),
    ],
)
def test_what_is_none_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidEdit, match=why):
        parse_suggestion(text, SPEC)


@given(st.text(max_size=300) | st.text(max_size=60).map(lambda text: '{"operation": "remove", "reason": "' + text))
def test_any_text_is_a_suggestion_or_an_invalid_edit(text: str) -> None:
    with suppress(InvalidEdit):
        assert parse_suggestion(text, SPEC).sentence()


def test_the_grammar_names_what_may_be_said() -> None:
    grammar = suggestion_grammar(SPEC)
    for word in ("add", "set_prompt", "reason", "Review"):
        assert word in grammar
    assert "position" not in grammar.partition("\n- ")[0]
