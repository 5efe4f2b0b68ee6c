# SPDX-License-Identifier: Apache-2.0
"""OpenAI's chat completions as plain data: a request becomes a problem, an answer becomes a reply.

The last message, which has to be the user's, is the problem. Earlier messages stand above it as text. Sampling keys of
the request (`temperature`, `max_tokens`, `tools`, ...) are ignored: the workflow's own settings decide, but for `seed`,
which names the draw.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from aflow_env.config import explain
from aflow_env.search.answering import WorkflowAnswer
from aflow_env.tasks.base import Problem
from aflow_env.workflow.program import TaskSpec

JSON = dict[str, Any]
SHOWN = 500
"""Characters of a complaint about a request, which may hold all of it."""
_FUNCTION = re.compile(r"^(?:async[ \t]+)?def[ \t]+(\w+)", re.MULTILINE)


class ChatError(Exception):
    """A reply that is no completion, in OpenAI's format of errors."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    @property
    def body(self) -> JSON:
        """The JSON that is sent."""
        kind = "invalid_request_error" if self.status < 500 and self.status not in (402, 422, 429) else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


class _TextPart(BaseModel):
    type: Literal["text"]
    text: str


class _Turn(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_TextPart] | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content or ())


class _StreamOptions(BaseModel):
    include_usage: bool = False


class ChatRequest(BaseModel):
    """The keys of a request that are read. `entry_point` and `public_tests` are ours, for code tasks."""

    model: str
    messages: Annotated[list[_Turn], Field(min_length=1)]
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = 1
    seed: Annotated[int, Field(ge=0)] | None = None
    entry_point: str | None = None
    public_tests: tuple[str, ...] = ()


def read_request(body: bytes, model: str) -> ChatRequest:
    """Read the body of a request to the model of this name. Raises ChatError."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise ChatError(400, explain(error, "")[:SHOWN], "invalid_value") from None
    if request.model != model:
        raise no_model(request.model, model)
    return request


def no_model(wanted: str, model: str) -> ChatError:
    """Return the error of a request to another model than the one that is served."""
    return ChatError(404, f"there is no model {wanted[:SHOWN]!r} here; there is {model!r}", "model_not_found", "model")


def problem_of(request: ChatRequest, spec: TaskSpec) -> Problem:
    """Return the problem that a chat asks for. Raises ChatError where there is none."""
    *earlier, last = request.messages
    if last.role != "user" or not last.text.strip():
        said = "the last message has to be the user's, with the problem as its text"
        raise ChatError(400, said, "invalid_value", "messages")
    turns = [f"{turn.role.capitalize()}: {turn.text}" for turn in earlier if turn.text]
    text = "\n\n".join(["Earlier turns:", *turns, "Problem:", last.text]) if turns else last.text
    entry_point = request.entry_point if spec.entry_point else None
    if spec.entry_point and not entry_point:
        functions: Sequence[str] = _FUNCTION.findall(last.text)
        if not functions:
            raise ChatError(
                400,
                "this workflow writes a function: name it in entry_point (of the openai SDK: "
                'extra_body={"entry_point": NAME}), or let the message hold its `def NAME` line',
                "invalid_value",
                "entry_point",
            )
        entry_point = functions[-1]
    return Problem("", text, "", entry_point, request.public_tests)


def usage_of(answer: WorkflowAnswer) -> JSON:
    """Return the tokens of all calls of the workflow."""
    prompt, reply = answer.input_tokens, answer.output_tokens
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": prompt + reply}


def completion(head: JSON, answer: WorkflowAnswer) -> JSON:
    """Return the reply that is no stream; `head` holds id, created and model."""
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    ours = {"cost_usd": answer.cost_usd, "calls": answer.calls, "seconds": answer.seconds}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": usage_of(answer), "aflow": ours}


def chunks(head: JSON, answer: WorkflowAnswer, with_usage: bool) -> Iterator[JSON]:
    """Yield the reply as a stream: the whole answer, its end, and the usage where it is asked for."""
    head = {**head, "object": "chat.completion.chunk", **({"usage": None} if with_usage else {})}
    for delta, reason in (({"role": "assistant", "content": answer.text}, None), ({}, "stop")):
        yield {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}
    if with_usage:
        yield {**head, "choices": [], "usage": usage_of(answer)}
