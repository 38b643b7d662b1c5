"""The HTTP client for TikTok: verified TLS, no proxies, no cookies, no redirects."""

from dataclasses import dataclass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

MAX_CONNECTIONS = 200
KEEPALIVE_SECONDS = 30.0
DEFAULT_TIMEOUT_SECONDS = 15.0


def tiktok_http_client() -> httpx.AsyncClient:
    """Return a client over aiohttp, good for many calls at once and for streamed bodies; close it with `aclose()`."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    return httpx.AsyncClient(
        transport=AiohttpTransport(client=session),
        timeout=httpx.Timeout(DEFAULT_TIMEOUT_SECONDS),
        trust_env=False,
        follow_redirects=False,
        headers={"user-agent": "cuepost"},
    )


@dataclass(frozen=True, slots=True)
class HttpClients:
    """A component that closes the clients: one for other services, one for TikTok."""

    internal: httpx.AsyncClient
    tiktok: httpx.AsyncClient

    async def start(self) -> None:
        """Do nothing: connections are made on first use."""

    async def stop(self) -> None:
        """Close all connections."""
        await self.internal.aclose()
        await self.tiktok.aclose()
