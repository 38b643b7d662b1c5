"""Queries and secrets to the other services by internal HTTP; answers come back as they are."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import httpx

from common.errors import Problem
from common.http.client import GATEWAY_PATIENCE_SECONDS, ServiceClient

QUERY_TIMEOUT_S = GATEWAY_PATIENCE_SECONDS
SLOW_TIMEOUT_S = 30.0
"""Where TikTok is asked before the answer."""

Upstream = Literal["accounts", "scheduler", "analytics"]


class HttpClient:
    """A component that closes the process's HTTP client at the end."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def start(self) -> None:
        """Nothing to do: it connects when it is used."""

    async def stop(self) -> None:
        """Close all connections."""
        await self.client.aclose()


class Upstreams:
    """The services behind the gateway, by name."""

    def __init__(self, clients: Mapping[Upstream, ServiceClient]) -> None:
        self._clients = dict(clients)

    async def send(
        self,
        service: Upstream,
        method: str,
        path: str,
        *,
        query: bytes = b"",
        content: bytes | None = None,
        bearer: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = QUERY_TIMEOUT_S,
    ) -> httpx.Response:
        """Call a service and return its answer whatever the status.

        `bearer` is the user's token, without it the gateway's own is sent. Raises Transient when the service is away,
        `Problem` 422 for a query string that is no valid part of an address.
        """
        with _valid_query():
            return await self._clients[service].send(
                method, _address(path, query), content=content, bearer=bearer, headers=headers, timeout=timeout
            )

    async def open(
        self, service: Upstream, path: str, *, query: bytes, bearer: str, headers: Mapping[str, str]
    ) -> httpx.Response:
        """GET from a service and return its answer with the body still to be read and closed; raises as `send` does."""
        with _valid_query():
            return await self._clients[service].open(
                _address(path, query), bearer=bearer, headers=headers, timeout=QUERY_TIMEOUT_S
            )


def _address(path: str, query: bytes) -> str:
    return f"{path}?{query.decode('latin-1')}" if query else path


@contextmanager
def _valid_query() -> Iterator[None]:
    try:
        yield
    except httpx.InvalidURL:
        raise Problem(422, "invalid_query", "The query string is not valid.") from None
