"""Opaque random secrets (refresh tokens, API keys, OAuth states): given out once, stored as SHA-256.

256 random bits need no slow hash; the digest cannot be turned back or guessed.
"""

import hashlib
import secrets

from pydantic import SecretStr

_BYTES = 32
TOKEN_MAX = 256


def new_secret(mark: str = "") -> SecretStr:
    """Return a fresh secret of 256 random bits as URL-safe text behind `mark`."""
    return SecretStr(mark + secrets.token_urlsafe(_BYTES))


def digest(secret: SecretStr | str) -> bytes:
    """Return the SHA-256 under which a secret is stored and looked up."""
    return hashlib.sha256(_plain(secret).encode("utf-8", "surrogatepass")).digest()


def hex_digest(secret: SecretStr | str) -> str:
    """Return the SHA-256 in lowercase hex, as a caller names a token that TikTok refused."""
    return digest(secret).hex()


def _plain(secret: SecretStr | str) -> str:
    return secret if isinstance(secret, str) else secret.get_secret_value()
