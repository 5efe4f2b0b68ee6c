# SPDX-License-Identifier: Apache-2.0
"""Any server that speaks OpenAI's chat completions (vLLM, DeepSeek, OpenAI, ...), through the official async SDK.

The SDK's own retries are off: retry.py is the one place that decides. `base_url` ends where the server's API root does,
usually in /v1. Requests go through the SDK's `post` with a plain body and a lean transport: `chat.completions.create`
and the default transport take two thirds more processor time, for type conversions and pool scans that we have no use
for (docs/benchmarks.md).
"""

from typing import Annotated, Any

from pydantic import Field

from aflow_env.config import LLMConfig
from aflow_env.llm.client import Request, derive_seed
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import Price
from aflow_env.llm.provider import Lenient, Provider, Reply


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


class OpenAIClient(Provider):
    """An LLMClient of an OpenAI-compatible server. Belongs to the event loop that first uses it."""

    def __init__(self, config: LLMConfig, price: Price | None, key: ApiKey, seed: int) -> None:
        import httpx2
        import openai

        from aflow_env.llm.transport import AiohttpTransport

        super().__init__(config, price, key, openai)
        self._seed = seed
        self._client = openai.AsyncOpenAI(
            api_key=key.reveal(),
            base_url=config.base_url,
            max_retries=0,
            timeout=config.timeout_seconds,
            http_client=httpx2.AsyncClient(transport=AiohttpTransport(), follow_redirects=True),
        )
        self._whole = httpx2.Response  # what `post` returns when asked for nothing parsed

    async def aclose(self) -> None:
        """As LLMClient."""
        await self._client.close()

    async def _create(self, request: Request) -> Any:
        return await self._client.post("/chat/completions", cast_to=self._whole, body=self._parameters(request))

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
        if request.fields:
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
