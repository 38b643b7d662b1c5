"""Webhooks: was this body signed by TikTok, recently, and what does it say.

Whatever bytes come, the functions here raise nothing but :class:`WebhookRefused`, whose reason names no value of the
request.
"""

import hashlib
import hmac
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

SIGNATURE_HEADER: Final = "Tiktok-Signature"
"""Compare names without regard to case: TikTok writes it in two ways."""

AUTHORIZATION_REMOVED: Final = "authorization.removed"
FUTURE_SECONDS: Final = 300.0
"""How far ahead TikTok's clock may be of ours; a longer tolerance is for the past only."""
MAX_HEADER_CHARS: Final = 1024
MAX_BODY_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 32

_FIELD = re.compile(r"([A-Za-z0-9_]{1,32})=([\x21-\x2b\x2d-\x7e]{0,256})")
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EXACT_IN_JAVASCRIPT = 2**53 - 1
_FIRST_SECOND, _LAST_SECOND = 1_000_000_000, 9_999_999_999

Json = dict[str, Any]


class RefusalKind(StrEnum):
    """What is wrong with a webhook."""

    SIGNATURE = "signature"
    """Not signed, signed by somebody else, or altered."""
    STALE = "stale"
    """Signed, but too long ago or too far ahead."""
    MALFORMED = "malformed"
    """Signed, but not what TikTok documents."""


class WebhookRefused(Exception):
    """The webhook must not be acted upon; ``reason`` is a sentence without any value from the request."""

    def __init__(self, kind: RefusalKind, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class RemovalReason(StrEnum):
    """Why a grant was removed; the code numbers are TikTok's (0 to 5, in this order)."""

    UNKNOWN = "TikTok withdrew the access and gave no reason."
    DISCONNECTED = "The creator disconnected the app in TikTok."
    ACCOUNT_DELETED = "The creator's TikTok account was deleted."
    AGE_CHANGED = "The creator's age changed, so TikTok withdrew the access."
    BANNED = "TikTok banned the creator's account."
    DEVELOPER_REVOKED = "The access was revoked by the app."


class WebhookEvent(BaseModel):
    """One event. ``create_time`` is in Unix seconds; ``event`` may be a name not known yet.

    ``content`` is the object inside the content string, with ids and large integers as strings, or the string itself
    when it holds no object. Unknown fields are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    client_key: str = Field(min_length=1, max_length=200)
    event: str = Field(min_length=1, max_length=200)
    create_time: int = Field(ge=_FIRST_SECOND, le=_LAST_SECOND)
    user_openid: str = Field(default="", max_length=200)
    content: Json | str = ""

    @field_validator("content", mode="before")
    @classmethod
    def _parsed(cls, value: object) -> object:
        if isinstance(value, str):
            parsed = parse_content(value)
            return value if parsed is None else parsed
        return ids_as_text(value) if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True)
class Signature:
    """What the signature header says; ``stamp`` is the timestamp as it was written, which is what was signed."""

    stamp: str
    digest: str

    @property
    def seconds(self) -> int:
        """The timestamp in Unix seconds."""
        return int(self.stamp)


def parse_signature(header: str) -> Signature:
    """Return the parts of a ``t=<seconds>,s=<hex>`` header; unknown parts are ignored, repeated ones are refused."""
    if len(header) > MAX_HEADER_CHARS:
        raise WebhookRefused(RefusalKind.SIGNATURE, "The signature header is too long.")
    parts: dict[str, str] = {}
    for part in header.split(","):
        match = _FIELD.fullmatch(part.strip(" \t"))
        if match is None:
            raise WebhookRefused(RefusalKind.SIGNATURE, "The signature header is not of the form t=...,s=....")
        if match[1] in parts:
            raise WebhookRefused(RefusalKind.SIGNATURE, "A part of the signature header is there twice.")
        parts[match[1]] = match[2]
    stamp, digest = parts.get("t", ""), parts.get("s", "").lower()
    if _SECONDS.fullmatch(stamp) is None or _HEX_DIGEST.fullmatch(digest) is None:
        raise WebhookRefused(RefusalKind.SIGNATURE, "The signature header lacks a timestamp or a signature.")
    return Signature(stamp, digest)


def sign(body: bytes, secret: SecretStr, stamp: str) -> str:
    """Return TikTok's signature (hex) of a raw body at a timestamp in Unix seconds."""
    message = stamp.encode() + b"." + body
    return hmac.new(secret.get_secret_value().encode(), message, hashlib.sha256).hexdigest()


def verify(headers: Sequence[str], body: bytes, secret: SecretStr, *, now: float, tolerance: float) -> int:
    """Return the time of signing (Unix seconds) when ``body``, as received, was signed with ``secret`` and is recent.

    ``headers`` are all signature headers of the request: exactly one has to be there. ``tolerance`` is the age in seconds
    up to which a signature counts; in the future it counts up to five minutes, and no longer than ``tolerance``.
    The signature is compared in constant time and judged before the time. Raises WebhookRefused.
    """
    if len(headers) != 1:
        told = "is missing" if not headers else "is there more than once"
        raise WebhookRefused(RefusalKind.SIGNATURE, f"The signature header {told}.")
    signature = parse_signature(headers[0])
    if not secret.get_secret_value():
        raise WebhookRefused(RefusalKind.SIGNATURE, "There is no secret to check signatures with.")
    expected = sign(body, secret, signature.stamp)
    if not hmac.compare_digest(expected.encode(), signature.digest.encode()):
        raise WebhookRefused(RefusalKind.SIGNATURE, "The signature does not belong to this body.")
    age = now - signature.seconds
    if age > tolerance:
        raise WebhookRefused(RefusalKind.STALE, "The signature is too old.")
    if -age > min(tolerance, FUTURE_SECONDS):
        raise WebhookRefused(RefusalKind.STALE, "The signature lies in the future.")
    return signature.seconds


def parse_event(body: bytes) -> WebhookEvent:
    """Return the event of a body whose signature is right. Raises WebhookRefused ``MALFORMED``; names fields, no values."""
    if len(body) > MAX_BODY_BYTES:
        raise WebhookRefused(RefusalKind.MALFORMED, "The body is too large.")
    parsed = _object(body)
    if parsed is None:
        raise WebhookRefused(RefusalKind.MALFORMED, "The body is not a JSON object.")
    try:
        return WebhookEvent.model_validate(parsed)
    except ValidationError as error:
        names = sorted({str(item["loc"][0]) for item in error.errors(include_input=False, include_url=False)})
        raise WebhookRefused(RefusalKind.MALFORMED, f"Missing or invalid: {', '.join(names)}.") from None


def parse_content(text: str) -> Json | None:
    """Return the object in a content string, ids and large integers as strings; None when there is none that can be stored."""
    parsed = _object(text)
    return None if parsed is None else ids_as_text(parsed)


def removal_reason(content: Json | str) -> RemovalReason:
    """Return why a grant was removed; a code that is not known yet counts as unknown.

    Raises WebhookRefused ``MALFORMED`` when the content holds no integer ``reason``.
    """
    code = content.get("reason") if isinstance(content, dict) else None
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) < 10:
        code = int(code)
    if isinstance(code, bool) or not isinstance(code, int):
        raise WebhookRefused(RefusalKind.MALFORMED, "The content holds no integer reason.")
    reasons = tuple(RemovalReason)
    return reasons[code] if 0 <= code < len(reasons) else RemovalReason.UNKNOWN


def ids_as_text(value: Any) -> Any:
    """Return JSON with every integer under a name ending in ``_id``, and any beyond 2^53, as a string."""
    if isinstance(value, dict):
        return {name: _id_text(name, item) for name, item in value.items()}
    if isinstance(value, list):
        return [ids_as_text(item) for item in value]
    return str(value) if _is_integer(value) and abs(value) > _EXACT_IN_JAVASCRIPT else value


def _id_text(name: str, value: Any) -> Any:
    if name.endswith("_id"):
        if _is_integer(value):
            return str(value)
        if isinstance(value, list):
            return [str(item) if _is_integer(item) else ids_as_text(item) for item in value]
    return ids_as_text(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _object(text: str | bytes) -> Json | None:
    """Return a JSON object that any database and any consumer can hold, else None."""
    try:
        parsed = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        if not isinstance(parsed, dict) or not _is_storable(parsed):
            return None
        # Lone surrogates do not survive the encoding.
        json.dumps(parsed, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return parsed


def _is_storable(root: Json) -> bool:
    """Return whether nothing holds a NUL character, which no database column takes, and the nesting has an end."""
    level: list[Any] = [root]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and "\x00" in value:
                return False
        level = below
    return not level


def _refuse(_: str) -> Any:
    raise ValueError("not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("too large")
    return number
