"""The HTTP clients for TikTok: verified TLS, no proxies, no cookies, no redirects."""

from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

MAX_CONNECTIONS = 200
KEEPALIVE_SECONDS = 30.0
DEFAULT_TIMEOUT_SECONDS = 15.0


def tiktok_http_client() -> httpx.AsyncClient:
    """Return a client over aiohttp, good for many calls at once and for streamed bodies; close it with `aclose()`."""
    return _client(lambda: aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS))


def tiktok_once_client() -> httpx.AsyncClient:
    """Return a client that opens a connection for each request, for what may be sent only once; close it with `aclose()`.

    A connection that was kept open may be closed by TikTok at the very moment at which it is used again. Then nobody knows whether
    the request arrived; a new connection that does not come about is proof that it did not.
    """
    return _client(lambda: aiohttp.TCPConnector(limit=MAX_CONNECTIONS, force_close=True))


def _client(connector: Callable[[], aiohttp.TCPConnector]) -> httpx.AsyncClient:
    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    return httpx.AsyncClient(
        # The session's connector verifies certificates; this avoids another context, which nobody would use.
        transport=AiohttpTransport(verify=False, client=session),
        timeout=httpx.Timeout(DEFAULT_TIMEOUT_SECONDS),
        trust_env=False,
        follow_redirects=False,
        headers={"user-agent": "cuepost"},
    )


@dataclass(frozen=True, slots=True)
class HttpClients:
    """A component that closes the clients: one for other services, one for TikTok, one for what is sent to TikTok only once."""

    internal: httpx.AsyncClient
    tiktok: httpx.AsyncClient
    tiktok_once: httpx.AsyncClient

    async def start(self) -> None:
        """Do nothing: connections are made on first use."""

    async def stop(self) -> None:
        """Close all connections."""
        await self.internal.aclose()
        await self.tiktok.aclose()
        await self.tiktok_once.aclose()
