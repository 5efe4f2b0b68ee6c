# SPDX-License-Identifier: Apache-2.0
"""Any server that speaks OpenAI's chat completions: vLLM, DeepSeek, OpenAI, ...

One POST a call, and the few fields of the answer that we use; `base_url` ends where the server's API root does, usually
in /v1. The wire format is spoken here, on aiohttp (transport.py): the official SDK takes several times the processor
time (docs/benchmarks.md).
"""

from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from aflow_env.config import LLMConfig
from aflow_env.llm.client import LLMError, PromptTooLong, Request, derive_seed
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import Price
from aflow_env.llm.providers.faults import request_id, status_error
from aflow_env.llm.providers.provider import Lenient, Provider, Raw, Reply
from aflow_env.llm.providers.transport import Answer, Transport


class _Message(Lenient):
    content: str | None
    refusal: str | None = None


class _Choice(Lenient):
    message: _Message
    finish_reason: str


class _Details(Lenient):
    cached_tokens: int | None = None


class _Usage(Lenient):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Details | None = None


class _Body(Lenient):
    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Usage
    model: str


class _Problem(Lenient):
    message: str
    code: str | int | None = None
    type: str | None = None


class _Failed(Lenient):
    error: _Problem


_FAILED: TypeAdapter[_Failed | _Problem] = TypeAdapter(_Failed | _Problem)
"""OpenAI's way to say what was wrong, and that of servers that leave out the outer object."""


class OpenAIClient(Provider):
    """An LLMClient of an OpenAI-compatible server. Belongs to the event loop that first uses it."""

    def __init__(self, config: LLMConfig, price: Price | None, key: ApiKey, seed: int) -> None:
        super().__init__(config, price, key)
        self._seed = seed
        self._transport = Transport(f"{(config.base_url or '').rstrip('/')}/chat/completions", key)

    async def aclose(self) -> None:
        """As LLMClient."""
        await self._transport.aclose()

    async def _send(self, request: Request) -> Raw | LLMError | PromptTooLong:
        answer = await self._transport.post(to_json(self._parameters(request)))
        if isinstance(answer, LLMError):
            return answer
        if 200 <= answer.status < 300:
            return Raw(answer.body, request_id(answer.headers))
        codes, text = _problem(answer)
        return status_error(answer.status, codes, text, answer.headers, request, self._key)

    def _parameters(self, request: Request) -> dict[str, Any]:
        config = self._config
        parameters: dict[str, Any] = {
            "model": request.model or config.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            config.max_tokens_field: request.max_tokens,
        }
        if config.send_temperature is not False:
            parameters["temperature"] = request.temperature
        if config.send_seed:
            parameters["seed"] = derive_seed(self._seed, request)
        if config.effort:
            parameters["reasoning_effort"] = config.effort
        if request.structured:
            held = {"name": "reply", "strict": True, "schema": request.reply_schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": held}
        if request.stop:
            parameters["stop"] = list(request.stop)
        return parameters

    def _read(self, body: bytes) -> Reply:
        parsed = _Body.model_validate_json(body)
        choice, usage = parsed.choices[0], parsed.usage
        cached = (usage.prompt_tokens_details and usage.prompt_tokens_details.cached_tokens) or 0
        refused = bool(choice.message.refusal) or choice.finish_reason == "content_filter"
        if not refused and choice.finish_reason not in ("stop", "length"):
            raise ValueError(f"finish_reason is {choice.finish_reason!r}")
        return Reply(
            text=choice.message.content or "",
            model=parsed.model,
            stop="refused" if refused else "length" if choice.finish_reason == "length" else "stop",
            fresh=usage.prompt_tokens - cached,
            read=cached,
            output=usage.completion_tokens,
        )


def _problem(answer: Answer) -> tuple[str, str]:
    """The server's own names for what is wrong, if any, and its words."""
    if 300 <= answer.status < 400 and (place := answer.headers.get("location")):
        return "", f"the server has moved to {place}: set base_url to its new address"
    try:
        failed = _FAILED.validate_json(answer.body)
    except ValidationError:
        return "", answer.body.decode("utf-8", "replace")
    problem = failed.error if isinstance(failed, _Failed) else failed
    return f"{problem.code or ''} {problem.type or ''}", problem.message
