"""Which addresses a file is fetched from, judged by the URL; where a name leads to is judged when it is connected to."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urljoin, urlsplit

from publisher.domain.public_addresses import is_public

MAX_URL_LENGTH = 8_192
"""Longer than what a post may name: addresses that are redirected to carry signatures."""
_URL_CHARACTERS = "".join(map(chr, range(ord("!"), ord("~") + 1)))


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """An address that may be fetched. `may_be_private`: its host is one of the exceptions, so any IP address will do.

    `host` may be shown; the rest of the address may hold a signature and is neither logged nor told.
    """

    url: str
    host: str
    is_https: bool
    may_be_private: bool

    def __repr__(self) -> str:
        return f"SourceUrl({self.host})"


class UrlRefused(Exception):
    """An address that is not fetched; `reason` is a sentence that does not hold the address."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_source_url(url: str, allowed_hosts: AbstractSet[str]) -> SourceUrl:
    """Return the address if it may be fetched; raises UrlRefused.

    Https to a host that is public as far as its name tells, on the standard port and without credentials; `allowed_hosts` (`host`
    or `host:port`) lists exceptions for development, for which http and private addresses pass too.
    """
    if len(url) > MAX_URL_LENGTH or not url.isascii() or any(character <= " " for character in url):
        raise UrlRefused("The address is too long or holds characters that a URL may not hold.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UrlRefused("The address is not a URL.") from None
    if not host or parts.scheme not in {"http", "https"}:
        raise UrlRefused("Only https addresses with a host are fetched.")
    if parts.username is not None or parts.password is not None:
        raise UrlRefused("The address may not hold credentials.")
    is_https = parts.scheme == "https"
    if host in allowed_hosts or f"{host}:{port}" in allowed_hosts:
        return SourceUrl(url, host, is_https, may_be_private=True)
    if not is_https:
        raise UrlRefused("Only https addresses are fetched.")
    if port not in {None, 443}:
        raise UrlRefused("Only the standard port of https is allowed.")
    if _is_address(host) and not is_public(host):
        raise UrlRefused("The host is not a public one.")
    return SourceUrl(url, host, is_https, may_be_private=False)


def redirected(source: SourceUrl, location: str, allowed_hosts: AbstractSet[str]) -> SourceUrl:
    """Return where a redirect leads to, judged like the address itself; https never becomes http. Raises UrlRefused.

    Servers send letters in `location` that a URL may not hold; they are encoded, what is encoded already stays as it is.
    """
    try:
        target = urljoin(source.url, quote(location, safe=_URL_CHARACTERS, errors="surrogateescape"))
    except ValueError:
        raise UrlRefused("It redirects to something that is not a URL.") from None
    following = read_source_url(target.partition("#")[0], allowed_hosts)
    if source.is_https and not following.is_https:
        raise UrlRefused("It redirects from https to http.")
    return following


def host_of(url: str) -> str:
    """Return the host of an address, to be shown; a phrase in its place when there is none."""
    try:
        return urlsplit(url).hostname or "The host"
    except ValueError:
        return "The host"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
