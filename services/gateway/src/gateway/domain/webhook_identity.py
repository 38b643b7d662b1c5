"""Which event a webhook is: the same signed body is the same event, however often TikTok sends it."""

import hashlib
from uuid import UUID, uuid5

_NAMESPACE = UUID("b0f6d1a5-52f4-5f5e-8d5c-3d2d8f4e7c21")


def webhook_id(body: bytes) -> UUID:
    """Return the UUIDv5 of a verified raw body."""
    return uuid5(_NAMESPACE, hashlib.sha256(body).hexdigest())
