# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange by aiohttp: post a JSON body with a key, read the whole answer, or say by an LLMError why not.

No streams, no retries, no cookies; as many connections as there are calls in flight. Proxies are taken from the
environment. A redirect is an answer like any other: nothing is sent, and no key shown, where the config does not point.
What cannot have reached the provider is billed by nobody; when a connection breaks later, nobody knows the bill.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from aflow_env.llm.client import LLMError
from aflow_env.llm.keys import ApiKey
from aflow_env.llm.providers.faults import connection_error

KEPT_SECONDS = 3.0
"""How long an idle connection is kept: less than servers do (uvicorn: 5 s), so that none closes while we send."""
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


@dataclass(frozen=True)
class Answer:
    """What a server said, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Posts to one URL. Belongs to the event loop that first uses it; the caller's clock bounds each exchange."""

    def __init__(self, url: str, key: ApiKey) -> None:
        self._url = URL(url)
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> Answer | LLMError:
        """Send JSON, and return what came or what went wrong.

        An error is returned, not raised: raised in a handler, it would carry aiohttp's, and so the key, as its context.
        """
        session = self._session = self._session or self._connected()
        try:
            proxy = environment_proxy(self._url.scheme, self._url.host or "")
            async with session.post(self._url, data=body, allow_redirects=False, proxy=proxy) as response:
                return Answer(response.status, response.headers, await response.read())
        except aiohttp.ClientHttpProxyError as error:
            text = f"the proxy answered with status {error.status}: {error.message}"
            return connection_error(text, self._key, never_sent=True)
        except (aiohttp.ClientError, OSError) as error:
            text = f"{error or 'no whole answer'} ({type(error).__name__})"
            return connection_error(text, self._key, never_sent=isinstance(error, NEVER_SENT))

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _connected(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Authorization": f"Bearer {self._key.reveal()}", "Content-Type": "application/json"},
        )


@lru_cache(maxsize=64)
def environment_proxy(scheme: str, host: str) -> str | None:
    """The proxy that http_proxy, https_proxy, all_proxy and no_proxy name for a host, or None.

    aiohttp's own look-up (trust_env) takes two hops to a thread for each request.
    """
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return None if proxy is None or proxy_bypass(host) else proxy
