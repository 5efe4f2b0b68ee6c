# SPDX-License-Identifier: Apache-2.0
"""Any server that speaks OpenAI's chat completions: vLLM, llama.cpp, TGI, Ollama, Mistral, OpenRouter, Azure, ...

One POST a call on aiohttp, and the few fields of the answer that we use. The official SDK takes several times the
processor time (docs/benchmarks.md). `base_url` ends where the server's API root does, usually in /v1.

No streams, no retries, no cookies. Each call in flight has a connection. A redirect is an answer like any other, so the
key goes to the configured address only. A call that cannot have reached the provider costs nothing. When a connection
breaks later, the bill is unknown.
"""

from functools import lru_cache
from typing import Annotated, Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from pydantic import AliasPath, Field
from pydantic_core import to_json
from yarl import URL

from aflow_env.config import LLMConfig
from aflow_env.llm.client import LLMError, Request, derive_seed
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.prices import Price
from aflow_env.llm.providers.answer import ACCEPTED, CONNECT_SECONDS, Answer, UnreadableAnswer, clean_answer, read_body
from aflow_env.llm.providers.provider import Lenient, Provider, Reply, stop_of

IDLE_SECONDS = 3.0
"""How long an idle connection stays open: less than at servers (uvicorn: 5 s), so that none closes while we send."""
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


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
        self._url = URL(f"{(config.base_url or '').rstrip('/')}/chat/completions").with_query(config.query)
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _send(self, request: Request) -> Answer | LLMError:
        """Send once. An error raised in a handler would have aiohttp's error, and so the key, as its context."""
        session = self._session = self._session or self._connected()
        body = to_json(self._parameters(request))
        try:
            proxy = environment_proxy(self._url.scheme, self._url.host or "")
            async with session.post(self._url, data=body, allow_redirects=False, proxy=proxy) as response:
                chunks = response.content.iter_chunked(2**16)
                received = await read_body(chunks, response.headers.get("content-encoding", ""))
                return clean_answer(response.status, response.headers, received, self._key)
        except UnreadableAnswer as error:
            return LLMError("malformed", str(error), bill="unknown")
        except aiohttp.ClientHttpProxyError as error:
            text = f"the proxy answered with status {error.status}: {error.message}"
            return self._disconnected(text, never_sent=True)
        except (aiohttp.ClientError, OSError) as error:
            text = f"{error or 'no whole answer'} ({type(error).__name__})"
            return self._disconnected(text, never_sent=isinstance(error, NEVER_SENT))

    def _connected(self) -> aiohttp.ClientSession:
        header, scheme = self._config.api_key_header, "Bearer " * (self._config.api_key_header == "Authorization")
        headers = {**self._config.headers, header: f"{scheme}{self._key.reveal()}"}
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # read_body does, up to its limit
            headers={"Content-Type": "application/json", "Accept-Encoding": ACCEPTED, **headers},
        )

    def _parameters(self, request: Request) -> dict[str, Any]:
        config = self._config
        parameters: dict[str, Any] = {
            "model": request.model or config.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            config.max_tokens_field: request.max_tokens,
        }
        if request.structured:
            schema = {"name": "reply", "strict": True, "schema": request.reply_schema}
            parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
        optional = {
            "temperature": None if config.send_temperature is False else request.temperature,
            "top_p": config.top_p,
            "seed": derive_seed(self._seed, request) if config.send_seed else None,
            "reasoning_effort": config.effort or None,
            "stop": [*request.stop, *config.stop] or None,
        }
        given = {name: value for name, value in optional.items() if value is not None}
        return {**config.extra_body, **parameters, **given}

    def _read(self, plain: Any) -> Reply:
        parsed = _ChatBody.model_validate(plain)
        content, usage = parsed.message.content or "", parsed.usage or _ChatUsage()
        if isinstance(content, list):  # without thinking
            parts = [_Part(text=each) if isinstance(each, str) else each for each in content]
            content = "".join(part.text or "" for part in parts if part.type in (None, "text", "output_text"))
        return Reply(
            text=content,
            size=len(content.encode()),
            model=parsed.model or "",
            stop="refused" if parsed.message.refusal else stop_of(parsed.finish_reason),
            fresh=None if usage.prompt_tokens is None else usage.prompt_tokens - (usage.cached or 0),
            read=usage.cached or 0,
            output=usage.output,
        )


@lru_cache(maxsize=64)
def environment_proxy(scheme: str, host: str) -> str | None:
    """Return the proxy that http_proxy, https_proxy, all_proxy and no_proxy name for a host, or None.

    aiohttp's own look-up (trust_env) takes two hops to a thread for each request.
    """
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return None if proxy is None or proxy_bypass(host) else proxy
