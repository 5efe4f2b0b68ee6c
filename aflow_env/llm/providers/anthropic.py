# SPDX-License-Identifier: Apache-2.0
"""Claude (or any server with /v1/messages) through the official async SDK, version 2 and later.

The SDK speaks API version 2026-10-21, which has no temperature. `send_temperature=true` sends it with version
2023-06-01, for older models and other servers. System prompts and earlier turns are marked for the prompt cache. The
SDK's own retries are off: provider_limits.py decides.
"""

from collections.abc import Awaitable
from typing import Any

from aflow_env.config import LLMConfig
from aflow_env.llm.client import LLMError, Request
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import Price
from aflow_env.llm.providers.answer import ACCEPTED, CONNECT_SECONDS, Answer, UnreadableAnswer, clean_answer, read_body
from aflow_env.llm.providers.provider import Lenient, Provider, Reply, stop_of

VERSION_WITH_TEMPERATURE = "2023-06-01"
NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
"""The errors of the SDK's transport where not even a connection was made."""


class _Block(Lenient):
    type: str
    text: str | None = None


class _ClaudeUsage(Lenient):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _ClaudeBody(Lenient):
    content: list[_Block]
    model: str | None = None
    stop_reason: Any = None
    usage: _ClaudeUsage | None = None


class AnthropicClient(Provider):
    """An LLMClient of Anthropic's Messages API. Belongs to the event loop that first uses it."""

    def __init__(self, config: LLMConfig, price: Price | None, key: ApiKey) -> None:
        import anthropic
        import httpx2

        super().__init__(config, price, key)
        self._sdk = anthropic
        base = config.base_url.rstrip("/").removesuffix("/v1") if config.base_url else None
        largest = self.largest

        class Bounded(anthropic.DefaultAsyncHttpxClient):
            """Read no answer beyond the limit."""

            async def send(self, request: Any, **options: Any) -> Any:
                response = await super().send(request, **{**options, "stream": True})
                try:
                    encoding = response.headers.get("content-encoding", "")
                    body = await read_body(response.aiter_raw(), encoding, largest)
                finally:
                    await response.aclose()
                said = response.headers.items()  # cleaned here too: the SDK logs them
                headers = [(name, key.scrub(value)) for name, value in said if name.lower() != "content-encoding"]
                return httpx2.Response(response.status_code, headers=headers, content=body, request=request)

        self._client = anthropic.AsyncAnthropic(
            api_key=key.reveal(),
            base_url=base,
            max_retries=0,
            timeout=httpx2.Timeout(config.timeout_seconds, connect=CONNECT_SECONDS),
            default_headers={"Accept-Encoding": ACCEPTED, **config.headers},
            default_query=config.query,
            http_client=Bounded(),
        )

    async def aclose(self) -> None:
        await self._client.close()

    async def _send(self, request: Request) -> Answer | LLMError:
        return await self._exchange(self._client.messages.with_raw_response.create(**self._parameters(request)))

    async def _exchange(self, sending: Awaitable[Any], lines: bool = False) -> Answer | LLMError:
        """Return the clean answer of any status to a raw call of the SDK, or the LLMError of an exception.

        `lines`: read the body's lines as a list.
        """
        sdk = self._sdk
        try:
            response = (await sending).http_response
            body = response.content
            if lines:
                body = b"[%s]" % b",".join(filter(None, body.splitlines()))
        except sdk.APIStatusError as error:
            response, body = error.response, error.response.content
        except sdk.APIConnectionError as error:
            cause, kind = error.__cause__, type(error.__cause__).__name__
            if isinstance(cause, UnreadableAnswer):
                return LLMError("malformed", str(cause), bill="unknown")
            if isinstance(error, sdk.APITimeoutError) and kind not in NEVER_SENT:
                return LLMError("timeout", f"no whole reply within {self._config.timeout_seconds:g} s", bill="unknown")
            return self._disconnected(f"{error} {kind} {cause}", never_sent=kind in NEVER_SENT)
        except sdk.APIError as error:
            return LLMError("malformed", self._clean(str(error)), bill="unknown")
        return clean_answer(response.status_code, response.headers, body, self._key)

    def _parameters(self, request: Request) -> dict[str, Any]:
        config = self._config
        system = [message.content for message in request.messages if message.role == "system"]
        turns = [message for message in request.messages if message.role != "system"]
        parameters: dict[str, Any] = {
            "model": request.model or config.model,
            "max_tokens": request.max_tokens,
            "messages": [
                # the last turn is new each time; the turns before it may be asked again
                {"role": turn.role, "content": [self._block(turn.content, last_of_prefix=k == len(turns) - 2)]}
                for k, turn in enumerate(turns)
            ],
        }
        if system:
            parameters["system"] = [self._block("\n\n".join(system), last_of_prefix=True)]
        if stop := [*request.stop, *config.stop]:
            parameters["stop_sequences"] = stop
        output: dict[str, Any] = {"effort": config.effort} if config.effort else {}
        if request.structured:
            output["format"] = {"type": "json_schema", "schema": request.reply_schema}
        if output:
            parameters["output_config"] = output
        extra = dict(config.extra_body)
        if config.send_temperature:
            extra["temperature"] = min(request.temperature, 1.0)
            parameters["extra_headers"] = {"anthropic-version": VERSION_WITH_TEMPERATURE}
        return {**parameters, "extra_body": extra} if extra else parameters

    def _block(self, text: str, last_of_prefix: bool) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": text}
        if last_of_prefix and self._config.prompt_cache:
            block["cache_control"] = {"type": "ephemeral"}
        return block

    def _read(self, plain: Any) -> Reply:
        parsed = _ClaudeBody.model_validate(plain)
        usage = parsed.usage or _ClaudeUsage()
        text = "".join(block.text or "" for block in parsed.content if block.type == "text")
        return Reply(
            text=text,
            size=len(text.encode()),
            model=parsed.model or "",
            stop=stop_of(parsed.stop_reason),
            fresh=usage.input_tokens,
            read=usage.cache_read_input_tokens or 0,
            written=usage.cache_creation_input_tokens or 0,
            output=usage.output_tokens,
        )
