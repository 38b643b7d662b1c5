"""Which addresses Cuepost fetches a video from: the part that can be judged by looking at the URL."""

from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from scheduler.domain.finding import Finding

MAX_URL_LENGTH = 2048
_PUBLIC_HINT = "Give an https URL of a public host"
_GLOBAL_UNICAST, _SIX_TO_FOUR = IPv6Network("2000::/3"), IPv6Network("2002::/16")
_PRIVATE_SUFFIXES = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".test", ".invalid")


def check_source_url(
    url: str, field: str, allowed_hosts: AbstractSet[str] = frozenset(), *, by_tiktok: bool = False
) -> Finding | None:
    """Return what is wrong with `url`, or None.

    Only https to a public host passes, without credentials and on the standard port; `allowed_hosts` (`host` or `host:port`)
    lists exceptions for development, for which http and private addresses pass too. Where a public name leads to is checked
    by the publisher when it connects. What TikTok itself is to fetch has to lie under a domain, too; whether the app has verified
    that one, only TikTok knows.
    """
    reason = _refusal(url, allowed_hosts, by_tiktok)
    if reason is None:
        return None
    hint = "Give an https URL under a domain that the app has verified at TikTok" if by_tiktok else _PUBLIC_HINT
    return Finding(field, "source_url_not_allowed", reason, f"{hint}, or upload the file.")


def without_query(url: str) -> str:
    """Leave out what follows the `?`: it is often a signature that gives access."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _refusal(url: str, allowed_hosts: AbstractSet[str], by_tiktok: bool) -> str | None:
    if len(url) > MAX_URL_LENGTH or not url.isascii() or any(character <= " " for character in url):
        return "The address is too long or holds characters that a URL may not hold."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "This is not a URL."
    if not host or parts.scheme not in {"http", "https"}:
        return "Only https addresses with a host are fetched."
    if parts.username is not None or parts.password is not None:
        return "The address may not hold credentials."
    if host in allowed_hosts or f"{host}:{port}" in allowed_hosts:
        return None
    if parts.scheme != "https":
        return "Only https addresses are fetched."
    if port not in {None, 443}:
        return "Only the standard port of https is allowed."
    if by_tiktok and _address(host) is not None:
        return "TikTok fetches from a domain only, not from an IP address."
    return None if _is_public(host) else "The host is not a public one."


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public_address(address: IPv4Address | IPv6Address) -> bool:
    """Leave out what Python counts as global but leads elsewhere: multicast, and IPv4 in IPv6 (mapped, NAT64, 6to4)."""
    is_given_out = isinstance(address, IPv4Address) or (address in _GLOBAL_UNICAST and address not in _SIX_TO_FOUR)
    return address.is_global and not address.is_multicast and is_given_out


def _is_public(host: str) -> bool:
    address = _address(host)
    if address is not None:
        return _is_public_address(address)
    name = host.rstrip(".")
    return "." in name and not name.endswith(_PRIVATE_SUFFIXES) and not name.rsplit(".", 1)[1].isdigit()
