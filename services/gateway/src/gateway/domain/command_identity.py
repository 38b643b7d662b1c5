"""Which command a request is: its Idempotency-Key names it, its hash tells whether it is the same request again."""

import hashlib
import re
from uuid import UUID, uuid5

_NAMESPACE = UUID("6d1f0c4e-8f0b-5d0e-9a0e-cc9e0f0e5b11")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def is_valid_idempotency_key(key: str) -> bool:
    """Tell whether a key is 1 to 255 visible ASCII characters."""
    return _KEY.fullmatch(key) is not None


def keyed_command_id(user_id: UUID, method: str, path: str, key: str) -> UUID:
    """Return the UUIDv5 of (user, method, concrete path, Idempotency-Key)."""
    return uuid5(_NAMESPACE, "\n".join((str(user_id), method.upper(), path, key)))


def request_hash(*, query: bytes, body: bytes, if_match: str | None) -> str:
    """Return the SHA-256 (hex) over query, body and If-Match; the lengths keep the parts apart."""
    digest = hashlib.sha256()
    for part in (query, body, (if_match or "").encode()):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
