"""Which addresses Cuepost fetches a video from: the part that can be judged by looking at the URL."""

from collections.abc import Set as AbstractSet
from ipaddress import ip_address
from urllib.parse import urlsplit

from scheduler.domain.finding import Finding

MAX_URL_LENGTH = 2048
_PRIVATE_SUFFIXES = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".test", ".invalid")


def check_source_url(url: str, field: str, allowed_hosts: AbstractSet[str] = frozenset()) -> Finding | None:
    """Return what is wrong with `url`, or None.

    Only https to a public host passes, without credentials and on the standard port; `allowed_hosts` (`host` or `host:port`)
    lists exceptions for development, for which http and private addresses pass too. Where a public name leads to is checked
    by the publisher when it connects.
    """
    reason = _refusal(url, allowed_hosts)
    if reason is None:
        return None
    return Finding(field, "source_url_not_allowed", reason, "Give an https URL of a public host, or upload the file.")


def _refusal(url: str, allowed_hosts: AbstractSet[str]) -> str | None:
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
    return None if _is_public(host) else "The host is not a public one."


def _is_public(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        pass
    name = host.rstrip(".")
    return "." in name and not name.endswith(_PRIVATE_SUFFIXES) and not name.rsplit(".", 1)[1].isdigit()
