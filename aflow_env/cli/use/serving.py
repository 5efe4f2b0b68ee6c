# SPDX-License-Identifier: Apache-2.0
"""Serve a workflow as a model of an OpenAI-compatible endpoint: `/v1/chat/completions` and `/v1/models`.

`concurrency` requests are answered at a time, twice as many wait, and more get status 429. A client that hangs up ends
its workflow. The content type has to be JSON, which a browser lets no foreign page send unasked.
"""

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aflow_env.cli.use.answering import Answering, WorkflowAnswer, usd
from aflow_env.cli.use.chat import ChatError, ChatRequest, chunks, completion, read_request
from aflow_env.config import BudgetConfig
from aflow_env.errors import BudgetExhausted, InfrastructureError
from aflow_env.screen import plural

BODY_BYTES = 1 << 20
"""The largest request that is read."""
DRAINED_BYTES = 16 * BODY_BYTES
"""The most that is received of a request. A client reads no reply before it has sent its whole request."""
BODY_SECONDS = 30.0
"""The longest time that a request may take to arrive."""


@dataclass
class Endpoint:
    """The routes of one workflow. `key` None asks clients for none. `ceiling` bounds each request.

    `hosts` are the names under which a client may ask, so that no page of another site comes in by a name of its own.
    An empty one allows any name. `say` gets one line for each request.
    """

    answering: Answering
    model: str
    key: str | None
    concurrency: int
    ceiling: BudgetConfig | None
    hosts: Sequence[str]
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self._places, self._inside, self._created = asyncio.Semaphore(self.concurrency), 0, int(time.time())

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/models", self.models),
            Route("/v1/models/{model:path}", self.models),
        ]
        errors = (ChatError, HTTPException, ClientDisconnect, Exception)
        return Starlette(routes=routes, exception_handlers=dict.fromkeys(errors, _refused))

    async def models(self, request: Request) -> Response:
        """Name the one model."""
        self._admit(request)
        model = {"id": self.model, "object": "model", "created": self._created, "owned_by": "aflow-env"}
        if "model" not in request.path_params:
            return JSONResponse({"object": "list", "data": [model]})
        self._check_model(request.path_params["model"])
        return JSONResponse(model)

    async def chat(self, request: Request) -> Response:
        """Answer one chat."""
        self._admit(request)
        asked = read_request(await _body(request))
        self._check_model(asked.model)
        try:
            answer = await self._answer(request, asked)
        except ChatError as error:
            self.say(f"{error.status} {error.code}: {error}")
            raise
        self.say(f"200, {plural(answer.calls, 'call')}, {usd(answer.cost_usd)}, {answer.seconds:.1f} s")
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": self.model}
        if not asked.stream:
            return JSONResponse(completion(head, answer))
        with_usage = (asked.stream_options or {}).get("include_usage") is True
        parts = [*map(json.dumps, chunks(head, answer, with_usage)), "[DONE]"]
        return Response("".join(f"data: {part}\n\n" for part in parts), media_type="text/event-stream")

    def _admit(self, request: Request) -> None:
        if self.hosts and request.url.hostname not in self.hosts:
            raise ChatError(403, f"this server is not {request.url.hostname}", "invalid_host")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and not hmac.compare_digest(given.encode(), self.key.encode()):
            raise ChatError(401, "the API key is missing or wrong", "invalid_api_key")

    def _check_model(self, wanted: str) -> None:
        if wanted != self.model:
            raise ChatError(404, f"there is no model {wanted[:80]!r} here; there is {self.model!r}", "model_not_found")

    async def _answer(self, request: Request, asked: ChatRequest) -> WorkflowAnswer:
        """Run the workflow in its turn. Raises ChatError unless there is an answer."""
        problem = asked.problem(self.answering.assembly.task.spec)
        sample = secrets.randbits(31) if asked.seed is None else asked.seed
        if self._inside >= 3 * self.concurrency:
            raise ChatError(429, f"{self._inside} requests are under way: try again later", "rate_limit_exceeded")

        async def in_turn() -> WorkflowAnswer:
            async with self._places:
                return await self.answering(problem, sample, self.ceiling)

        self._inside += 1
        job, gone = asyncio.ensure_future(in_turn()), asyncio.ensure_future(_hung_up(request))
        try:
            await asyncio.wait((job, gone), return_when=asyncio.FIRST_COMPLETED)
            if not job.done():
                raise ClientDisconnect
            answer = job.result()
        except BudgetExhausted as limit:
            said = f"{limit} (--request-usd, --request-tokens, --request-calls)"
            raise ChatError(402, said, "budget_exceeded") from limit
        except InfrastructureError as error:
            raise ChatError(503, str(error), "executor_unavailable") from error
        finally:
            self._inside -= 1
            job.cancel()
            gone.cancel()
            await asyncio.gather(job, gone, return_exceptions=True)
        if answer.outcome != "ok":  # 422: clients ask again after a 5xx, and would pay again
            raise ChatError(422, f"the workflow failed on this problem: {answer.error}", answer.outcome)
        return answer


async def _body(request: Request) -> bytes:
    """Read the body. Raises ChatError when it is no JSON, too large or too slow."""
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


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Exception) -> Response:
    """Return the reply to an error. Starlette logs a fault of ours."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    if isinstance(error, HTTPException):
        error = ChatError(error.status_code, f"{request.method} {request.url.path}: {error.detail}", "not_found")
    if not isinstance(error, ChatError):
        error = ChatError(500, "a fault of aflow-env; its log has it", "internal_error")
    return JSONResponse(error.body, error.status)
