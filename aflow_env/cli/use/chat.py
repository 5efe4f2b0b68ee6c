# SPDX-License-Identifier: Apache-2.0
"""Translate OpenAI's chat completions: a request into a problem, an answer into a reply.

The last message has to be the user's, and is the problem. Earlier messages come before it as text. `seed` names the
draw. Sampling keys (`temperature`, `max_tokens`, `tools`, ...) are ignored, since the workflow sets its own.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from pydantic_core import from_json

from aflow_env.cli.use.answering import WorkflowAnswer
from aflow_env.tasks.problem import Problem
from aflow_env.workflow.program import TaskSpec

JSON = dict[str, Any]
SHOWN = 500
"""Characters of an error message, which may repeat a whole request."""
_FUNCTION = re.compile(r"^(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)


class ChatError(Exception):
    """An error in OpenAI's format. `status` is HTTP's, `code` OpenAI's. `param` is the key of the request."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message[:SHOWN])
        self.status, self.code, self.param = status, code, param

    @property
    def body(self) -> JSON:
        """The JSON that is sent."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class _TextPart(BaseModel):
    type: Literal["text"]
    text: str


def _parts(content: object) -> object:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class _Turn(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[list[_TextPart] | None, BeforeValidator(_parts)] = None

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.content or ())


class ChatRequest(BaseModel):
    """A request. `entry_point` and `public_tests` are keys of ours, for code tasks. Other keys are ignored."""

    model: str
    messages: Annotated[list[_Turn], Field(min_length=1)]
    stream: bool | None = False
    stream_options: dict[str, Any] | None = None
    n: Literal[1] | None = 1
    seed: Annotated[int, Field(ge=0)] | None = None
    entry_point: str | None = None
    public_tests: tuple[str, ...] = ()

    def problem(self, spec: TaskSpec) -> Problem:
        """Return the problem of the chat. Raises ChatError where there is none."""
        *earlier, last = self.messages
        if last.role != "user" or not last.text.strip():
            raise ChatError(400, "the last message has to be the user's, with the problem as text", "invalid_value")
        turns = [f"{turn.role.capitalize()}: {turn.text}" for turn in earlier if turn.text]
        text = "\n\n".join(["Earlier turns:", *turns, "Problem:", last.text]) if turns else last.text
        if not spec.entry_point:
            return Problem("", text, "")
        defined = [self.entry_point] if self.entry_point else _FUNCTION.findall(last.text)
        if not defined:
            raise ChatError(400, "name the function in `entry_point`, or write its `def` line", "invalid_value")
        return Problem("", text, "", defined[-1], self.public_tests)


def read_request(body: bytes) -> ChatRequest:
    """Read the body of a request. Raises ChatError that names the first mistake."""
    try:
        sent = from_json(body)
    except ValueError as error:
        said = error if body.strip() else "it is empty"
        raise ChatError(400, f"the body has to be a JSON object: {said}", "invalid_json") from None
    if not isinstance(sent, dict):
        raise ChatError(400, f"the body has to be a JSON object: it is {sent!s:.40}", "invalid_json")
    try:
        return ChatRequest.model_validate(sent)
    except ValidationError as error:
        found = error.errors()[0]
    key, said = ".".join(map(str, found["loc"])), f"{found['msg'][0].lower()}{found['msg'][1:]}"
    missing = found["type"] == "missing"
    text = f"{key} is missing" if missing else f"{key}={found['input']!r:.100}: {said}"
    raise ChatError(400, text, "missing_required_parameter" if missing else "invalid_value", key)


def completion(head: JSON, answer: WorkflowAnswer) -> JSON:
    """Return the whole reply. `head` has id, created and model."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    ours = {"cost_usd": answer.cost_usd, "calls": answer.calls, "seconds": answer.seconds}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(answer), "aflow": ours}


def chunks(head: JSON, answer: WorkflowAnswer, with_usage: bool) -> Iterator[JSON]:
    """Yield the reply as a stream: the whole answer, its end, and the usage where it is asked for."""
    head = {**head, "object": "chat.completion.chunk"}
    for delta, reason in (({"role": "assistant", "content": answer.text}, None), ({}, "stop")):
        yield {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
    if with_usage:
        yield {**head, "choices": [], "usage": _usage(answer)}


def _usage(answer: WorkflowAnswer) -> JSON:
    prompt, reply = answer.input_tokens, answer.output_tokens
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}
