"""Asking for a file: one request after the other along its redirects, each address judged anew."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from publisher.clients.source_fetch.guarded_connections import Guard, OwnThreadsResolver, session_of
from publisher.domain import source_troubles
from publisher.domain.source_url import SourceUrl, UrlRefused, read_source_url, redirected
from publisher.errors import CallFailed

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
"""From asking to the last of the headers."""

_HEADERS = {"User-Agent": "cuepost", "Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer: status, headers by their names in lower case, and the bytes as they arrive (to be read once).

    `length` is how many bytes its body announces, None when it does not.
    """

    status: int
    headers: Mapping[str, str]
    length: int | None
    host: str
    body: aiohttp.StreamReader


@cache
def _trust_of_this_machine() -> ssl.SSLContext:
    return ssl.create_default_context()


class SourceOpener:
    """Opens addresses; nothing is kept between two of them but the resolver."""

    def __init__(
        self,
        allowed_hosts: AbstractSet[str],
        *,
        stall_seconds: float,
        resolver: AbstractResolver | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed_hosts = allowed_hosts
        self._stall = stall_seconds
        self._resolver = resolver or OwnThreadsResolver()
        self._trust = trust or _trust_of_this_machine()

    async def stop(self) -> None:
        """End the resolver's threads."""
        await self._resolver.close()

    @asynccontextmanager
    async def open(self, url: str, headers: Mapping[str, str], before_send: Callable[[], None]) -> AsyncIterator[Answer]:
        """Give the answer to a GET after at most 5 redirects; the connection is closed when the block ends.

        `before_send` is called just before each request and may raise. Raises CallFailed for addresses that are not allowed, hosts
        that cannot be reached or trusted, and too many redirects; reading the body raises what `aiohttp` raises.
        """
        source = self._read(url)
        for _ in range(MAX_REDIRECTS + 1):
            before_send()
            guard = Guard(may_be_private=source.may_be_private)
            async with session_of(guard, self._resolver, self._trust) as session:
                response = await self._ask(session, source, headers, guard)
                location = response.headers.get("Location")
                if response.status not in REDIRECTS or location is None:
                    try:
                        yield _answer_of(response, source)
                    finally:
                        response.close()
                    return
                response.close()
            source = self._follow(source, location)
        raise CallFailed(source_troubles.too_many_redirects(source.host))

    def _read(self, url: str) -> SourceUrl:
        try:
            return read_source_url(url, self._allowed_hosts)
        except UrlRefused as error:
            raise CallFailed(source_troubles.not_allowed(error.reason)) from None

    def _follow(self, source: SourceUrl, location: str) -> SourceUrl:
        try:
            return redirected(source, location, self._allowed_hosts)
        except UrlRefused as error:
            why = f"{source.host} redirects to an address that is not fetched. {error.reason}"
            raise CallFailed(source_troubles.not_allowed(why)) from None

    async def _ask(
        self, session: aiohttp.ClientSession, source: SourceUrl, headers: Mapping[str, str], guard: Guard
    ) -> aiohttp.ClientResponse:
        timeout = aiohttp.ClientTimeout(connect=CONNECT_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=self._stall)
        try:
            # As it is: encoding it anew would break signatures.
            address = URL(source.url, encoded=True)
            if address.host != source.host:
                raise CallFailed(source_troubles.not_allowed("The address names its host in an ambiguous way."))
            async with asyncio.timeout(ANSWER_SECONDS):
                return await session.get(address, headers={**_HEADERS, **headers}, timeout=timeout, allow_redirects=False)
        except aiohttp.ClientConnectorCertificateError:
            raise CallFailed(source_troubles.untrusted(source.host)) from None
        except ValueError:
            raise CallFailed(source_troubles.not_allowed("The address names no host that can be asked.")) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Their texts hold the address.
            if guard.refused and not guard.allowed:
                why = f"{source.host} leads to an address that is not public."
                raise CallFailed(source_troubles.not_allowed(why)) from None
            raise CallFailed(source_troubles.unreachable(source.host, _phrase(error))) from None


def _answer_of(response: aiohttp.ClientResponse, source: SourceUrl) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, response.content_length, source.host, response.content)


def _phrase(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "is a name without an address"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "could not be connected to"
    return "gave no readable answer"
