"""Removal of secrets from whatever is about to be logged: by key, and by what they look like inside any text."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

REDACTED = "[redacted]"
MAX_DEPTH = 8

_SECRET_KEY = re.compile(
    r"token|passw(or)?d|passphrase|secret|authorization|cookie|code_verifier|(api|private|encryption|operation|client)[_-]?key"
    r"|credential|signature",
    re.IGNORECASE,
)
_HARMLESS_KEY = re.compile(r"(_id|_ids|_at|_type|_ttl|_seconds|_count|_name|_prefix|_expires_in|_version)$", re.IGNORECASE)

_NAMES = (
    r"access_token|refresh_token|id_token|upload_token|client_secret|client_key|code_verifier|password|passwd|secret"
    r"|api_?key|private_key|encryption_key|authorization|set-cookie|cookie|x-amz-signature"
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=!-]+", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?"), REDACTED),
    (re.compile(r"\b(act|rft|clt)\.[A-Za-z0-9!._~*-]{6,}"), REDACTED),
    (re.compile(r"\bcpk_[A-Za-z0-9_-]+"), REDACTED),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@?#]*):[^\s/]+@", re.IGNORECASE), rf"\1:{REDACTED}@"),
    (re.compile(r"([?&](?:code|state|sig|signature|token)=)[^&\s\"']+", re.IGNORECASE), rf"\1{REDACTED}"),
    (
        re.compile(
            rf"\b({_NAMES})(\\?[\"']?\s*[:=]\s*\\?[\"']?)(?!\[redacted\])(?!(?:Bearer|Basic)\b)[^\s\"'&,;}}\\]+", re.IGNORECASE
        ),
        rf"\1\2{REDACTED}",
    ),
)
_SUSPICIOUS = re.compile(
    rf"eyJ|cpk_|(?:act|rft|clt)\.|://|bearer|basic|[?&](?:code|state|sig|signature|token)=|{_NAMES}", re.IGNORECASE
)


def redact_text(text: str) -> str:
    """Return the text with everything that looks like a secret replaced by `[redacted]`."""
    if _SUSPICIOUS.search(text) is None:
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def is_secret_key(key: str) -> bool:
    """Whether values under this key are never shown (`access_token` yes, `token_expires_at` and `api_key_id` no)."""
    return _SECRET_KEY.search(key) is not None and _HARMLESS_KEY.search(key) is None


def redact(value: Any, depth: int = 0) -> Any:
    """Return a copy of a value without secrets; beyond 8 levels the text form is cleaned instead."""
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, int | float | bool):
        return value
    if isinstance(value, bytes):
        return redact_text(value.decode("utf-8", "replace"))
    if depth >= MAX_DEPTH:
        return redact_text(str(value))
    if isinstance(value, Mapping):
        return {key: _redact_item(str(key), item, depth) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    return redact_text(str(value))


def _redact_item(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    return REDACTED if is_secret_key(key) else redact(value, depth + 1)


def redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: no secret passes, whether in keys, values, messages or tracebacks."""
    for key, value in event.items():
        if not key.startswith("_"):
            event[key] = _redact_item(key, value, 0)
    return event
