"""The HTTP clients of the service, as a component that closes them."""

from dataclasses import dataclass

import httpx

MAX_CONNECTIONS = 40
TIMEOUT_SECONDS = 15.0


def tiktok_http_client() -> httpx.AsyncClient:
    """Return a client for TikTok: verified TLS, no proxies, no redirects; close it with `aclose()`."""
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        timeout=httpx.Timeout(TIMEOUT_SECONDS),
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
