"""Connections that are opened to public IP addresses only.

The address is judged when the socket to it is made, after the name was resolved: a name that answers differently the next time
gains nothing by it. Names are resolved on threads of their own, so that a slow name server holds up no one else's calls.
"""

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from publisher.domain.public_addresses import is_public

RESOLVER_THREADS = 32
HEADER_BYTES = 16 * 1024


class AddressRefused(OSError):
    """The IP address is not public."""


class Guard:
    """Makes the sockets of one request; `refused` tells whether an address was turned away."""

    def __init__(self, *, may_be_private: bool) -> None:
        self._may_be_private = may_be_private
        self.refused = False
        self.allowed = False

    def socket(self, address: "tuple[Any, ...]") -> socket.socket:
        """Return a socket for an address as getaddrinfo gives it; raises AddressRefused."""
        family, kind, protocol, _, target = address
        if not self._may_be_private and not is_public(str(target[0])):
            self.refused = True
            raise AddressRefused("not a public address")
        self.allowed = True
        return socket.socket(family, kind, protocol)


class OwnThreadsResolver(AbstractResolver):
    """Asks the system's resolver, on threads that nothing else waits for."""

    def __init__(self, threads: int = RESOLVER_THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="source-names")

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of a name. Raises OSError when there are none or nobody knows."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for found_family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """End the threads; lookups that still run are left to their own end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def session_of(guard: Guard, resolver: AbstractResolver, trust: ssl.SSLContext) -> aiohttp.ClientSession:
    """Return a session for one request: a fresh connection, no cookies, no proxies, nothing kept, bytes as they are."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=resolver, use_dns_cache=False, force_close=True, limit=1, socket_factory=guard.socket, ssl=trust
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
    )
