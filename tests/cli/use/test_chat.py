# SPDX-License-Identifier: Apache-2.0
"""A chat becomes a problem, an answer becomes a completion, by OpenAI's names."""

import json
from typing import Any

import pytest

from aflow_env.cli.use.answering import WorkflowAnswer
from aflow_env.cli.use.chat import SHOWN, ChatError, chunks, completion, read_request
from aflow_env.workflow.program import TaskSpec

TEXT = TaskSpec("words", "WORDS", ("Custom",))
CODE = TaskSpec("code", "CODE", ("CustomCodeGenerate",), True)
ANSWER = WorkflowAnswer("42", "ok", "", 0.5, 10, 3, 2, 1.0)


def body(*messages: tuple[str, Any], **more: Any) -> bytes:
    turns = [{"role": role, "content": content} for role, content in messages]
    return json.dumps({"model": "m", "messages": turns, **more}).encode()


def test_one_message_is_the_problem_as_it_stands() -> None:
    """A workflow sees the problem as the search's problems were, without a frame around it."""
    assert read_request(body(("user", " What is 6 * 7?\n"))).problem(TEXT).prompt == " What is 6 * 7?\n"


def test_earlier_turns_stand_above_the_problem() -> None:
    """Nothing of a conversation is lost, and the last message is told apart."""
    asked = read_request(body(("system", "Be exact."), ("user", "Hi"), ("assistant", "Hello"), ("user", "And now?")))
    assert asked.problem(TEXT).prompt == (
        "Earlier turns:\n\nSystem: Be exact.\n\nUser: Hi\n\nAssistant: Hello\n\nProblem:\n\nAnd now?"
    )


def test_text_parts_are_joined() -> None:
    """Clients that send a list of parts are understood."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_request(body(("user", parts))).problem(TEXT).prompt == "a\nb"


@pytest.mark.parametrize(
    ("more", "message", "entry_point"),
    [
        ({"entry_point": "given"}, "def seen():\n    ...", "given"),
        ({}, "Write it.\n\ndef helper():\n    return 1\n\ndef wanted(a, b):\n    ...", "wanted"),
    ],
)
def test_a_code_task_gets_its_entry_point(more: dict[str, Any], message: str, entry_point: str) -> None:
    """The name comes from `entry_point`, or else it is the last function that the message defines."""
    assert read_request(body(("user", message), **more)).problem(CODE).entry_point == entry_point


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "^the body has to be a JSON object: it is empty$"),
        (b"model=m", "^the body has to be a JSON object: expected value at line 1 column 1$"),
        (b'{"model": "m",\n  bad}', "^the body has to be a JSON object: .* at line 2 column 3$"),
        (b'{"model": "m"', "^the body has to be a JSON object: EOF .* at line 1 column 13$"),
        (b'{"model": "\xff"}', "^the body has to be a JSON object: .* at line 1 column 12$"),
        (b"[" * 100_000, "^the body has to be a JSON object: recursion limit exceeded at line 1"),
        (b"[1, 2]", r"^the body has to be a JSON object: it is \[1, 2\]$"),
        (b'"text"', "^the body has to be a JSON object: it is text$"),
        (b'{"model": "m"}', "^messages is missing$"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "^model is missing$"),
        (body(model=5), "^model=5: input should be a valid string$"),
        (body(), r"^messages=\[\]: list should have at least 1 item"),
        (b'{"model": "m", "messages": {"role": "user"}}', "^messages={'role': 'user'}: input should be a valid list$"),
        (body(("user", "x"), n=2), "^n=2: input should be 1"),
        (body(("user", "x"), n=0), "^n=0: input should be 1"),
        (body(("user", "x"), seed=-1), "^seed=-1: input should be greater than or equal to 0$"),
        (body(("user", "x"), stream="maybe"), "^stream='maybe': input should be a valid boolean"),
        (body(("user", "x"), stream_options="all"), "^stream_options='all': input should be a valid dict"),
        (body(("robot", "x")), "^messages.0.role='robot': input should be 'system'"),
        (body(("user", 5)), "^messages.0.content=5: input should be a valid list$"),
        (body(("user", [{"type": "text"}])), "^messages.0.content.0.text is missing$"),
        (body(("user", ["x"])), "^messages.0.content.0='x': input should be"),
        (
            body(("user", [{"type": "image_url", "image_url": {"url": "x" * 9}}])),
            "^messages.0.content.0.type='image_url'",
        ),
        (body(("user", [{"type": "text", "text": ["x" * 10_000]}])), "^messages.0.content.0.text=.*: input should be"),
    ],
)
def test_a_request_that_is_none_is_explained(sent: bytes, says: str) -> None:
    """A wrong request is a 400 in OpenAI's format that names the key, and is never echoed whole."""
    with pytest.raises(ChatError, match=says) as refused:
        read_request(sent)
    error = refused.value.body["error"]
    assert (refused.value.status, error["type"], set(error)) == (
        400,
        "invalid_request_error",
        {"message", "type", "param", "code"},
    )
    assert error["param"] is None or error["message"].startswith(error["param"])
    assert len(error["message"]) <= SHOWN


@pytest.mark.parametrize("messages", [[("assistant", "x")], [("user", "x"), ("system", "y")], [("user", "  ")]])
def test_a_chat_without_a_question_is_refused(messages: list[tuple[str, str]]) -> None:
    """The last message has to be the user's and hold a text."""
    with pytest.raises(ChatError, match="last message"):
        read_request(body(*messages)).problem(TEXT)


def test_a_code_task_without_a_function_is_refused() -> None:
    """No entry point is invented."""
    with pytest.raises(ChatError, match="entry_point"):
        read_request(body(("user", "Sort a list."))).problem(CODE)


def test_a_stream_holds_the_same_answer_and_usage() -> None:
    """The whole answer is one chunk; usage comes last and only where it is asked for."""
    whole = completion({"id": "i", "created": 1, "model": "m"}, ANSWER)
    parts = list(chunks({"id": "i", "created": 1, "model": "m"}, ANSWER, with_usage=True))
    assert whole["usage"] == parts[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    assert [part["choices"][0]["delta"].get("content") for part in parts[:-1]] == ["42", None]
    assert parts[1]["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in part for part in chunks({}, ANSWER, with_usage=False))
