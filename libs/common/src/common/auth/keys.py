"""Ed25519 keys as text: base64url of the raw 32 bytes, with or without padding."""

import base64
import binascii
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES = 32


def b64url_encode(data: bytes) -> str:
    """Return base64url text without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64url_decode(text: str) -> bytes:
    """Return the bytes of base64url text with or without padding; ValueError (without the text) when it is malformed."""
    try:
        stripped = text.strip().rstrip("=").encode("ascii")
        return base64.b64decode(stripped + b"=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("is not base64url") from None


def _raw_key(text: str) -> bytes:
    raw = b64url_decode(text)
    if len(raw) != KEY_BYTES:
        raise ValueError(f"must be base64url of {KEY_BYTES} bytes (Ed25519)")
    return raw


def private_key_from(text: str) -> Ed25519PrivateKey:
    """Return the private key of a base64url seed; ValueError when it is malformed."""
    return Ed25519PrivateKey.from_private_bytes(_raw_key(text))


def public_key_from(text: str) -> Ed25519PublicKey:
    """Return the public key of base64url raw bytes; ValueError when it is malformed."""
    return Ed25519PublicKey.from_public_bytes(_raw_key(text))


def public_keys_from(keys: Mapping[str, str]) -> dict[str, Ed25519PublicKey]:
    """Return the public key of each service name; ValueError names the service whose key is malformed."""
    result: dict[str, Ed25519PublicKey] = {}
    for name, text in keys.items():
        try:
            result[name] = public_key_from(text)
        except ValueError as error:
            raise ValueError(f"key of {name!r}: {error}") from None
    return result


def public_key_text(key: Ed25519PublicKey) -> str:
    """Return the base64url text of a public key."""
    return b64url_encode(key.public_bytes_raw())


def private_key_text(key: Ed25519PrivateKey) -> str:
    """Return the base64url text of a private key's seed."""
    return b64url_encode(key.private_bytes_raw())
