# SPDX-License-Identifier: Apache-2.0
"""A workflow as a model behind an OpenAI-compatible endpoint: `/v1/chat/completions` and `/v1/models`.

So many requests are answered at a time, twice as many wait, and more are turned away with 429. A client that hangs up
ends its workflow. A request must say that its body is JSON, which a browser lets no foreign page do unasked.
"""

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from aflow_env.cli.chat import JSON, ChatError, ChatRequest, chunks, completion, no_model, problem_of, read_request
from aflow_env.config import BudgetConfig
from aflow_env.errors import BudgetExhausted, InfrastructureError
from aflow_env.search.answering import Answering, ProblemBudgetExhausted, WorkflowAnswer

BODY_BYTES = 1 << 20
"""The largest request that is read."""
DRAINED_BYTES = 16 * BODY_BYTES
"""How much of a request is received: a client reads no reply before it has sent its whole request."""
BODY_SECONDS = 30.0
"""How long a request may take to arrive."""
WAITING = 2
"""Requests that wait, for each that is answered."""


@dataclass
class Endpoint:
    """The routes of one workflow.

    `key` None asks for none. `hosts` are the names under which a client may ask, so that no page of another site comes
    in by a name of its own; empty: any. `say` hears one line for each request.
    """

    answering: Answering
    model: str
    key: str | None
    concurrency: int
    budget: BudgetConfig
    hosts: Sequence[str]
    say: Callable[[str], None]
    created: int = field(default_factory=lambda: int(time.time()))
    _inside: int = 0

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.concurrency)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/v1/models/{model:path}", self.models),
            ],
            exception_handlers={
                ChatError: _refused,
                HTTPException: _refused,
                ClientDisconnect: _gone,
                Exception: _broken,
            },
        )

    async def models(self, request: Request) -> Response:
        """Name the one model."""
        self._admit(request)
        model = {"id": self.model, "object": "model", "created": self.created, "owned_by": "aflow-env"}
        wanted = request.path_params.get("model")
        if wanted is None:
            return JSONResponse({"object": "list", "data": [model]})
        if wanted != self.model:
            raise no_model(wanted, self.model)
        return JSONResponse(model)

    async def chat(self, request: Request) -> Response:
        """Answer one chat."""
        self._admit(request)
        asked = read_request(await _body(request), self.model)
        began = time.monotonic()
        try:
            answer = await self._answer(request, asked)
        except ChatError as error:
            self.say(f"{error.status} {error.code}, {time.monotonic() - began:.1f} s")
            raise
        self.say(f"200, {answer.calls} calls, {answer.cost_usd:.4f} USD, {time.monotonic() - began:.1f} s")
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": self.model}
        if not asked.stream:
            return JSONResponse(completion(head, answer))
        with_usage = asked.stream_options is not None and asked.stream_options.include_usage
        return StreamingResponse(_events(head, answer, with_usage), media_type="text/event-stream")

    def _admit(self, request: Request) -> None:
        if self.hosts and request.url.hostname not in self.hosts:
            raise ChatError(403, f"this server is not {request.url.hostname}", "invalid_host")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and not hmac.compare_digest(given.encode(), self.key.encode()):
            raise ChatError(401, "the API key is missing or wrong", "invalid_api_key")

    async def _answer(self, request: Request, asked: ChatRequest) -> WorkflowAnswer:
        """Run the workflow in its turn. Raises ChatError for whatever is no answer."""
        problem = problem_of(asked, self.answering.assembly.task.spec)
        sample = secrets.randbits(31) if asked.seed is None else asked.seed
        if self._inside >= self.concurrency * (1 + WAITING):
            raise ChatError(429, f"{self._inside} requests are under way: try again later", "rate_limit_exceeded")
        self._inside += 1
        try:
            async with self._places:
                answer = await _while_there(request, self.answering(problem, sample, self.budget))
        except ProblemBudgetExhausted as limit:
            raise ChatError(402, str(limit).replace("budget.", "--request-"), "budget_exceeded") from limit
        except BudgetExhausted as limit:
            raise ChatError(402, str(limit), "budget_exceeded") from limit
        except InfrastructureError as error:
            raise ChatError(503, str(error), "executor_unavailable") from error
        finally:
            self._inside -= 1
        if answer.outcome != "ok":  # 422: clients ask again after a 5xx, and would pay again
            raise ChatError(422, f"the workflow failed on this problem: {answer.error}", answer.outcome)
        return answer


async def _body(request: Request) -> bytes:
    """Read the body. Raises ChatError for one that is no JSON, too large or too slow."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ChatError(415, "the content-type has to be application/json", "unsupported_media_type")
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                body += chunk if size <= BODY_BYTES else b""
                if size > DRAINED_BYTES:
                    break
    except TimeoutError:
        raise ChatError(408, f"the request did not arrive within {BODY_SECONDS:.0f} s", "timeout") from None
    if size > BODY_BYTES:
        raise ChatError(413, f"the request is larger than {BODY_BYTES} bytes", "request_too_large")
    return bytes(body)


async def _while_there(request: Request, work: Coroutine[Any, Any, WorkflowAnswer]) -> WorkflowAnswer:
    """Do the work, or cancel it once the client has hung up. Raises ClientDisconnect then."""
    job, gone = asyncio.ensure_future(work), asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait((job, gone), return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise ClientDisconnect
        return job.result()
    finally:
        job.cancel()
        gone.cancel()
        await asyncio.gather(job, gone, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(head: JSON, answer: WorkflowAnswer, with_usage: bool) -> AsyncIterator[str]:
    for chunk in chunks(head, answer, with_usage):
        yield f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = ChatError(error.status_code, f"{request.method} {request.url.path}: {error.detail}", "not_found")
    assert isinstance(error, ChatError)
    return JSONResponse(error.body, error.status)


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


async def _broken(request: Request, error: Exception) -> Response:
    return JSONResponse(ChatError(500, "a fault of aflow-env; its log has it", "internal_error").body, 500)
