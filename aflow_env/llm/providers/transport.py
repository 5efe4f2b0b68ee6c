# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange by aiohttp: post a JSON body with a key, and return the answer or an LLMError.

No streams, no retries, no cookies; as many connections as there are calls in flight. Proxies are taken from the
environment. A redirect is an answer like any other, so the key goes to the configured address only. A call that cannot
have reached the provider costs nothing. When a connection breaks later, the bill is unknown.
"""

from collections.abc import Mapping
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from aflow_env.llm.client import LLMError
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.providers.answer import ACCEPTED, Answer, UnreadableAnswer, clean_answer, one_line, read_body
from aflow_env.llm.providers.faults import CONNECT_SECONDS, connection_error

KEPT_SECONDS = 3.0
"""How long an idle connection is kept: less than servers do (uvicorn: 5 s), so that none closes while we send."""
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class Transport:
    """Posts to one URL. Belongs to the event loop that first uses it; the caller's clock bounds each exchange."""

    def __init__(self, url: str, key: ApiKey, headers: Mapping[str, str], query: Mapping[str, str]) -> None:
        self._url = URL(url).with_query(query)
        self._key = key
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> Answer | LLMError:
        """Send JSON, and return the answer or the error.

        An error raised in a handler would have aiohttp's error, and so the key, as its context.
        """
        session = self._session = self._session or self._connected()
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
            return connection_error(one_line(self._key.scrub(text)), never_sent=True)
        except (aiohttp.ClientError, OSError) as error:
            text = f"{error or 'no whole answer'} ({type(error).__name__})"
            return connection_error(one_line(self._key.scrub(text)), never_sent=isinstance(error, NEVER_SENT))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _connected(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # read_body does, up to its limit
            headers={"Content-Type": "application/json", "Accept-Encoding": ACCEPTED, **self._headers},
        )


@lru_cache(maxsize=64)
def environment_proxy(scheme: str, host: str) -> str | None:
    """The proxy that http_proxy, https_proxy, all_proxy and no_proxy name for a host, or None.

    aiohttp's own look-up (trust_env) takes two hops to a thread for each request.
    """
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return None if proxy is None or proxy_bypass(host) else proxy
