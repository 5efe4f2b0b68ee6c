# SPDX-License-Identifier: Apache-2.0
"""Claude (or any server with /v1/messages) through the official async SDK, version 2 and later.

The SDK speaks API version 2026-10-21, which has no temperature: it is sent only with `send_temperature=true`, together
with version 2023-06-01, for older models and other servers. System prompts and earlier turns are marked for the prompt
cache; what is read from and written to it is priced apart. The SDK's own retries are off: retry.py decides.
"""

from collections.abc import Awaitable
from typing import Any

from aflow_env.config import LLMConfig
from aflow_env.llm.client import LLMError, PromptTooLong, Request
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import Price
from aflow_env.llm.providers.faults import connection_error, request_id, shorten, status_error
from aflow_env.llm.providers.provider import Lenient, Provider, Raw, Reply

VERSION_WITH_TEMPERATURE = "2023-06-01"
NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
"""What the SDK's transport raises when not even a connection was made."""
STOPS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length"}


class _Block(Lenient):
    type: str
    text: str | None = None


class _Usage(Lenient):
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Body(Lenient):
    content: list[_Block]
    model: str
    stop_reason: str
    usage: _Usage


class AnthropicClient(Provider):
    """An LLMClient of Anthropic's Messages API. Belongs to the event loop that first uses it."""

    def __init__(self, config: LLMConfig, price: Price | None, key: ApiKey) -> None:
        import anthropic

        super().__init__(config, price, key)
        self._sdk = anthropic
        base = config.base_url.rstrip("/").removesuffix("/v1") if config.base_url else None
        self._client = anthropic.AsyncAnthropic(
            api_key=key.reveal(), base_url=base, max_retries=0, timeout=config.timeout_seconds
        )

    async def aclose(self) -> None:
        """As LLMClient."""
        await self._client.close()

    async def _send(self, request: Request) -> Raw | LLMError | PromptTooLong:
        return await self._guarded(self._create(request), request)

    async def _create(self, request: Request) -> Any:
        return (await self._client.messages.with_raw_response.create(**self._parameters(request))).http_response

    async def _guarded(self, sending: Awaitable[Any], request: Request) -> Raw | LLMError | PromptTooLong:
        """The HTTP response that the SDK gives, or the error that its exception means."""
        sdk = self._sdk
        try:
            response = await sending
            return Raw(response.content, request_id(response.headers))
        except sdk.APIStatusError as error:
            response = error.response
            codes, text = error.type or "", error.message
            return status_error(response.status_code, codes, text, response.headers, request, self._key)
        except sdk.APITimeoutError:
            return LLMError("timeout", f"no whole reply within {self._config.timeout_seconds:g} s", bill="unknown")
        except sdk.APIConnectionError as error:
            cause = type(error.__cause__).__name__
            return connection_error(f"{error} {cause} {error.__cause__}", self._key, never_sent=cause in NEVER_SENT)
        except sdk.APIError as error:
            return LLMError("malformed", shorten(str(error), self._key), bill="unknown")

    def _parameters(self, request: Request) -> dict[str, Any]:
        config = self._config
        system = [message.content for message in request.messages if message.role == "system"]
        turns = [message for message in request.messages if message.role != "system"]
        parameters: dict[str, Any] = {
            "model": request.model or config.model,
            "max_tokens": request.max_tokens,
            "messages": [
                # the last turn is new each time; what comes before it may be asked again
                {"role": turn.role, "content": [self._block(turn.content, last_of_prefix=k == len(turns) - 2)]}
                for k, turn in enumerate(turns)
            ],
        }
        if system:
            parameters["system"] = [self._block("\n\n".join(system), last_of_prefix=True)]
        if request.stop:
            parameters["stop_sequences"] = list(request.stop)
        output: dict[str, Any] = {"effort": config.effort} if config.effort else {}
        if request.structured:
            output["format"] = {"type": "json_schema", "schema": request.reply_schema}
        if output:
            parameters["output_config"] = output
        if config.send_temperature:
            parameters["extra_body"] = {"temperature": min(request.temperature, 1.0)}
            parameters["extra_headers"] = {"anthropic-version": VERSION_WITH_TEMPERATURE}
        return parameters

    def _block(self, text: str, last_of_prefix: bool) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": text}
        if last_of_prefix and self._config.prompt_cache:
            block["cache_control"] = {"type": "ephemeral"}
        return block

    def _read(self, body: bytes) -> Reply:
        parsed = _Body.model_validate_json(body)
        usage, stop = parsed.usage, parsed.stop_reason
        if stop != "refusal" and stop not in STOPS:
            raise ValueError(f"stop_reason is {stop!r}")
        return Reply(
            text="".join(block.text or "" for block in parsed.content if block.type == "text"),
            model=parsed.model,
            stop="refused" if stop == "refusal" else "length" if STOPS[stop] == "length" else "stop",
            fresh=usage.input_tokens,
            read=usage.cache_read_input_tokens or 0,
            written=usage.cache_creation_input_tokens or 0,
            output=usage.output_tokens,
        )
