"""Which addresses TikTok fetches from: https, a domain, under a property that the app's owner verified."""

import ipaddress

import httpx

from tiktok_simulator.answers import ApiError
from tiktok_simulator.settings import Settings

_MAX_LENGTH = 4096


def check_url(value: object, settings: Settings) -> str:
    """Return the address if TikTok would fetch it.

    Raises ApiError ``invalid_params`` for what is no https address of a domain, ``url_ownership_unverified`` for one
    that is under no verified property.
    """
    url = _parsed(value)
    if settings.pull_loopback and is_loopback(url.host) and url.scheme in {"http", "https"}:
        return str(value)
    if url.scheme != "https" or url.userinfo:
        raise ApiError("invalid_params", "The URL must begin with https:// and carry no user.")
    if _address(url.host) is not None or "." not in url.host:
        raise ApiError("invalid_params", "The host of the URL must be a domain.")
    host = url.host.lower().rstrip(".")
    domains = [domain.lower() for domain in settings.verified_domains]
    under_domain = any(host == domain or host.endswith(f".{domain}") for domain in domains)
    if not under_domain and not any(str(value).startswith(prefix) for prefix in settings.verified_prefixes):
        raise ApiError("url_ownership_unverified", "The URL is not under a verified domain or URL prefix.")
    return str(value)


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine by its name or address."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def _parsed(value: object) -> httpx.URL:
    if not isinstance(value, str) or not value or len(value) > _MAX_LENGTH:
        raise ApiError("invalid_params", "The URL is required and must be a string.")
    try:
        url = httpx.URL(value)
    except (httpx.InvalidURL, ValueError):
        raise ApiError("invalid_params", "The URL is malformed.") from None
    if not url.host:
        raise ApiError("invalid_params", "The URL is malformed.")
    return url


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
