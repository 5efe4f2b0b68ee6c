# SPDX-License-Identifier: Apache-2.0
"""aiohttp beneath the SDK's httpx client: less processor time a call than the default transport (docs/benchmarks.md).

The default one looks at each of its connections for every request. This one reads whole replies (no streams), opens as
many connections as there are calls in flight, and takes proxies and certificates from the environment as httpx does.
What cannot have reached the provider is a ConnectError or ProxyError; anything later is a ReadError, whose bill nobody
knows.
"""

from functools import lru_cache
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2

KEPT_SECONDS = 3.0
"""How long an idle connection is kept: less than servers do (uvicorn: 5 s), so that none closes while we send."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """For `httpx2.AsyncClient(transport=...)`. Belongs to the event loop that first uses it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read the whole reply. Raises httpx2.TransportError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None),  # the caller's clock bounds the whole attempt
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            async with self._session.request(
                request.method,
                str(request.url),
                headers=request.headers.multi_items(),
                data=request.content or None,
                allow_redirects=False,
                proxy=environment_proxy(request.url.scheme, request.url.host),
            ) as response:
                content = await response.read()
        except aiohttp.ClientProxyConnectionError as error:
            raise httpx2.ProxyError(str(error), request=request) from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        except (aiohttp.ClientError, OSError) as error:
            raise httpx2.ReadError(str(error), request=request) from error
        return httpx2.Response(response.status, headers=response.raw_headers, content=content, request=request)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


@lru_cache(maxsize=64)
def environment_proxy(scheme: str, host: str) -> str | None:
    """The proxy that http_proxy, https_proxy, all_proxy and no_proxy name for a host, or None.

    aiohttp's own look-up (trust_env) takes two hops to a thread for each request.
    """
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return None if proxy is None or proxy_bypass(host) else proxy
