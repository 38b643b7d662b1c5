"""Fetching media for pulls and photos: no redirects, public addresses only, capped, hashed on the way to disk."""

import asyncio
import hashlib
import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import httpcore
import httpx

from tiktok_simulator.settings import Settings

_BLOCK_BYTES = 1024 * 1024
_HEADERS: dict[bytes | str, bytes | str] = {
    "User-Agent": "TikTok-Fetcher-Simulator",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
}


class FetchFailed(Exception):
    """The address gave nothing that is of use: no connection, no 200, a redirect, a break, or a stall."""


class TooLarge(Exception):
    """There are more bytes than TikTok takes."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched; size in bytes."""

    sha256: str
    size: int


class Fetcher:
    """Fetches over connections that are opened to public addresses, and to loopback ones if the settings say so."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def fetch(self, url: str, path: Path, limit: int, arrived: Callable[[int, int], None]) -> Fetched:
        """Write what is at ``url`` to ``path``; ``arrived`` hears the length of each piece and of the whole (0: unknown).

        Raises FetchFailed, or TooLarge beyond ``limit`` bytes.
        """
        if self._pool is None:
            backend = _Guarded(loopback=self._settings.pull_loopback)
            self._pool = httpcore.AsyncConnectionPool(network_backend=backend, max_connections=100)
        stall = self._settings.pull_stall_seconds
        extensions = {"timeout": {"connect": stall, "read": stall, "write": stall, "pool": None}}
        try:
            address = str(httpx.URL(url))
            async with self._pool.stream("GET", address, headers=_HEADERS, extensions=extensions) as answer:
                return await _store(answer, path, limit, arrived)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise FetchFailed(type(error).__name__) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None


async def _store(answer: httpcore.Response, path: Path, limit: int, arrived: Callable[[int, int], None]) -> Fetched:
    if answer.status != 200:
        raise FetchFailed(f"HTTP {answer.status}")
    length = next((value for name, value in answer.headers if name.lower() == b"content-length"), b"")
    total = int(length) if length.isdigit() else 0
    if total > limit:
        raise TooLarge
    digest, size, buffer = hashlib.sha256(), 0, bytearray()
    path.parent.mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(path.write_bytes, b"")
    async for piece in answer.aiter_stream():
        size += len(piece)
        if size > limit:
            raise TooLarge
        digest.update(piece)
        buffer += piece
        arrived(len(piece), total)
        if len(buffer) >= _BLOCK_BYTES:
            await asyncio.to_thread(_append, path, bytes(buffer))
            buffer.clear()
    await asyncio.to_thread(_append, path, bytes(buffer))
    if size == 0:
        raise FetchFailed("empty")
    return Fetched(digest.hexdigest(), size)


def _append(path: Path, block: bytes) -> None:
    with path.open("ab") as file:
        file.write(block)


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to the address that was judged, so that a name cannot answer differently in between."""

    def __init__(self, *, loopback: bool) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._loopback = loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: "Iterable[httpcore.SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's addresses that is allowed. Raises httpcore.ConnectError."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for *_, address in found:
            if self._allowed(str(address[0])):
                return await self._inner.connect_tcp(str(address[0]), port, timeout, local_address, socket_options)
        raise httpcore.ConnectError("no address that may be connected to")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def _allowed(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address.partition("%")[0])
        return parsed.is_global or (self._loopback and parsed.is_loopback)
