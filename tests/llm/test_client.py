# SPDX-License-Identifier: Apache-2.0
"""Requests have stable keys, every field decides, and errors say what may be done about them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aflow_env.llm.client import LLMError, Message, Request, derive_seed
from tests.llm.helpers import ask

BASE = Request(messages=(Message(role="user", content="hi"),), model="m")


@pytest.mark.parametrize(
    "change",
    [
        {"messages": (Message(role="system", content="hi"),)}, {"messages": (Message(role="user", content="hi "),)},
        {"model": "n"}, {"temperature": 0.1}, {"max_tokens": 1}, {"sample": 1}, {"stop": ("x",)}, {"fields": ("x",)},
    ],
)  # fmt: skip
def test_every_field_changes_the_key(change):
    assert BASE.key != Request(**{**dict(BASE), **change}).key == BASE.model_copy(update=change).key


def test_the_key_is_the_same_for_ever_and_for_equal_values():
    assert BASE.key == "8b2120e48b9174aea967c60c8937f0dd519820ee827dea507f2c745ee9f804fd", (
        "a change orphans all recorded runs"
    )
    assert Request.model_validate_json(BASE.model_dump_json()).key == BASE.key
    assert ask("hi", temperature=0).key == ask("hi", temperature=0.0).key


@given(st.text(alphabet=st.characters(), max_size=30))
def test_any_text_can_be_sent_and_keyed(text):
    request = ask(text)
    request.messages[0].content.encode()
    assert len(request.key) == 64
    assert request.input_bound > len(text)


def test_lone_surrogates_become_question_marks():
    assert Message(role="user", content="a\ud800b").content == "a?b"


def test_an_empty_conversation_is_refused():
    with pytest.raises(ValidationError):
        Request(messages=())


@given(st.integers(0, 10), st.integers(0, 10))
def test_seeds_repeat_and_differ_with_sample_and_run(one, two):
    a, b = ask("hi", sample=one), ask("hi", sample=two)
    assert (derive_seed(7, a) == derive_seed(7, b)) == (one == two)
    assert derive_seed(7, a) != derive_seed(8, a)
    assert 0 <= derive_seed(7, a) < 2**31


@pytest.mark.parametrize(
    ("kind", "retryable", "fatal"),
    [
        ("overloaded", True, False),
        ("authentication", False, True),
        ("refused", False, False),
        ("no_text", False, False),
    ],
)
def test_an_error_says_whether_to_try_again_and_whether_to_stop(kind, retryable, fatal):
    error = LLMError(kind, "words", request_id="r1")
    assert (error.retryable, error.fatal) == (retryable, fatal)
    assert str(error) == f"{kind}: words (request id r1)"
