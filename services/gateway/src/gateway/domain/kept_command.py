"""A command at rest: its bytes under a seal, so that whoever can write to the storage cannot speak for a user."""

import hashlib
import hmac

_MAC_BYTES = 32


def seal(body: bytes, key: bytes) -> bytes:
    """Return the body behind its HMAC-SHA256."""
    return _mac(body, key) + body


def unseal(sealed: bytes, key: bytes) -> bytes | None:
    """Return the body, None when the seal is missing or broken."""
    mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    return body if hmac.compare_digest(mac, _mac(body, key)) else None


def _mac(body: bytes, key: bytes) -> bytes:
    return hmac.new(key, b"cuepost-command" + body, hashlib.sha256).digest()
