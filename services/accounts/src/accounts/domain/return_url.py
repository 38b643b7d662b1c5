"""Where a browser may be sent after connecting: only to addresses the operator allows (no open redirect)."""

from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

RETURN_URL_MAX = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_allowed(return_url: str, allowed: Iterable[str]) -> bool:
    """Return whether the address has the origin of an allowed one and lies at or below its path.

    Only visible ASCII, as addresses are written: anything else is percent-encoded, and could not stand in a header.
    """
    if len(return_url) > RETURN_URL_MAX or any(not "!" <= character <= "~" or character == "\\" for character in return_url):
        return False
    target = _split(return_url)
    if target is None or target.username is not None or target.password is not None or ".." in unquote(target.path):
        return False
    return any(_covers(base, target) for text in allowed if (base := _split(text)) is not None)


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.scheme in _DEFAULT_PORTS and parts.hostname else None


def _covers(base: SplitResult, target: SplitResult) -> bool:
    if _origin(base) != _origin(target):
        return False
    prefix = base.path.rstrip("/")
    return target.path == prefix or target.path.startswith(f"{prefix}/") or (not prefix and not target.path)


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
