# SPDX-License-Identifier: Apache-2.0
"""A suggestion is read from any text or refused in one sentence, and reads as a sentence to whoever implements it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aflow_env.config import TaskConfig
from aflow_env.tasks import load_task
from aflow_env.workflow.edits import InvalidEdit
from aflow_env.workflow.suggestion import Suggestion, parse_suggestion, suggestion_grammar

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
