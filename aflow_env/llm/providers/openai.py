# SPDX-License-Identifier: Apache-2.0
"""Any server that speaks OpenAI's chat completions: vLLM, llama.cpp, TGI, Ollama, Mistral, OpenRouter, Azure, ...

One POST a call, and the few fields of the answer that we use; `base_url` ends where the server's API root does, usually
in /v1. It speaks the wire format on aiohttp (transport.py): the official SDK takes several times the processor time
(docs/benchmarks.md).
"""

from typing import Annotated, Any

from pydantic import AliasPath, Field
from pydantic_core import to_json

from aflow_env.config import LLMConfig
from aflow_env.llm.client import LLMError, Request, derive_seed
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import Price
from aflow_env.llm.providers.answer import JSON, Answer, one_line
from aflow_env.llm.providers.provider import Lenient, Provider, Reply, stop_of
from aflow_env.llm.providers.transport import Transport


class _Part(Lenient):
    """A part of a content that is a list (Mistral): a text, or thinking, which is not in the answer."""

    type: str | None = None
    text: str | None = None


class _Message(Lenient):
    content: str | list[_Part | str] | None = None
    refusal: str | None = None


class _ChatUsage(Lenient):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached: Annotated[int | None, Field(validation_alias=AliasPath("prompt_tokens_details", "cached_tokens"))] = None
    thought: Annotated[
        int | None, Field(validation_alias=AliasPath("completion_tokens_details", "reasoning_tokens"))
    ] = None

    @property
    def output(self) -> int | None:
        """Reply tokens, with thinking where a server counts it in the total alone (xAI)."""
        told, thought = self.completion_tokens, self.thought or 0
        apart = told is not None and self.total_tokens == (self.prompt_tokens or 0) + told + thought
        return (told or 0) + thought if apart else told


class _ChatBody(Lenient):
    message: Annotated[_Message, Field(validation_alias=AliasPath("choices", 0, "message"))]
    finish_reason: Annotated[Any, Field(validation_alias=AliasPath("choices", 0, "finish_reason"))] = None
    usage: _ChatUsage | None = None
    model: str | None = None


class OpenAIClient(Provider):
    """An LLMClient of an OpenAI-compatible server. Belongs to the event loop that first uses it."""

    def __init__(self, config: LLMConfig, price: Price | None, key: ApiKey, seed: int) -> None:
        super().__init__(config, price, key)
        self._seed = seed
        scheme = "Bearer " if config.api_key_header == "Authorization" else ""
        self._transport = Transport(
            f"{(config.base_url or '').rstrip('/')}/chat/completions",
            key,
            headers={**config.headers, config.api_key_header: f"{scheme}{key.reveal()}"},
            query=config.query,
        )

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _send(self, request: Request) -> Answer | LLMError:
        return await self._transport.post(to_json(self._parameters(request)))

    def _parameters(self, request: Request) -> dict[str, Any]:
        config = self._config
        parameters: dict[str, Any] = {
            "model": request.model or config.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            config.max_tokens_field: request.max_tokens,
        }
        if config.send_temperature is not False:
            parameters["temperature"] = request.temperature
        if config.top_p is not None:
            parameters["top_p"] = config.top_p
        if config.send_seed:
            parameters["seed"] = derive_seed(self._seed, request)
        if config.effort:
            parameters["reasoning_effort"] = config.effort
        if request.structured:
            held = {"name": "reply", "strict": True, "schema": request.reply_schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": held}
        if stop := [*request.stop, *config.stop]:
            parameters["stop"] = stop
        return {**config.extra_body, **parameters}

    def _read(self, plain: JSON) -> Reply:
        parsed = _ChatBody.model_validate(plain)
        message, usage, text = parsed.message, parsed.usage or _ChatUsage(), _text(parsed.message.content)
        return Reply(
            text=text,
            size=len(text.encode()),
            model=one_line(parsed.model or ""),
            stop="refused" if message.refusal else stop_of(parsed.finish_reason),
            fresh=None if usage.prompt_tokens is None else usage.prompt_tokens - (usage.cached or 0),
            read=usage.cached or 0,
            output=usage.output,
        )


def _text(content: str | list[_Part | str] | None) -> str:
    """The answer itself, without thinking."""
    if content is None or isinstance(content, str):
        return content or ""
    texts = [_Part(text=each) if isinstance(each, str) else each for each in content]
    return "".join(part.text or "" for part in texts if part.type in (None, "text", "output_text"))
