"""Operation ids: opaque, signed names of commands whose reply did not come in time."""

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

Service = Literal["accounts", "scheduler"]

Scope = Literal["accounts:write", "media:write", "posts:write"]

_VERSION = 2
_SERVICES: dict[Service, int] = {"accounts": 1, "scheduler": 2}
_SCOPES: dict[Scope, int] = {"accounts:write": 1, "media:write": 2, "posts:write": 3}
_LAYOUT = struct.Struct(">BBB16s16sQ")
_MAC_BYTES = 16
_LENGTH = _LAYOUT.size + _MAC_BYTES
_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Operation:
    """A command under way: which service runs it, whose it is, its id, when it was sent, and the right it took.

    `time` is None where the client's key gave the id: a repeat names the same operation, whenever it comes.
    """

    service: Service
    user_id: UUID
    command_id: UUID
    time: datetime | None
    scope: Scope


def _mac(payload: bytes, key: bytes) -> bytes:
    return hmac.new(key, b"cuepost-operation" + payload, hashlib.sha256).digest()[:_MAC_BYTES]


def encode_operation(operation: Operation, key: bytes) -> str:
    """Return the id shown to the client: base64url of the packed operation and its HMAC-SHA256 (first 16 bytes)."""
    payload = _LAYOUT.pack(
        _VERSION,
        _SERVICES[operation.service],
        _SCOPES[operation.scope],
        operation.user_id.bytes,
        operation.command_id.bytes,
        0 if operation.time is None else int(operation.time.timestamp() * 1000),
    )
    return base64.urlsafe_b64encode(payload + _mac(payload, key)).rstrip(b"=").decode()


def decode_operation(text: str, key: bytes, *, now: datetime, lifetime: timedelta) -> Operation | None:
    """Return the operation an id names, or None when it is malformed, forged, from the future or older than `lifetime`.

    `lifetime` is as long as services keep their replies.
    """
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _LENGTH or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        return None
    payload, mac = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
    if not hmac.compare_digest(mac, _mac(payload, key)):
        return None
    _, code, scope_code, user, command, milliseconds = _LAYOUT.unpack(payload)
    service = next((name for name, value in _SERVICES.items() if value == code), None)
    scope = next((name for name, value in _SCOPES.items() if value == scope_code), None)
    time = datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
    if service is None or scope is None or (time is not None and not now - lifetime <= time <= now + _SKEW):
        return None
    return Operation(service, UUID(bytes=user), UUID(bytes=command), time, scope)
