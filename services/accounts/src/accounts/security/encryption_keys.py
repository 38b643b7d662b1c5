"""Fernet keys as operators write them: comma separated, the first one seals; and what tells them apart without telling them."""

import base64
from hashlib import sha256
from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import SecretStr

MAX_FILE_BYTES = 64 * 1024
FINGERPRINT_CHARS = 12


def fernet_keys(secret: SecretStr) -> tuple[SecretStr, ...]:
    """Return the keys; raises ValueError, which names the malformed one by its number."""
    keys = tuple(word for part in secret.get_secret_value().split(",") if (word := part.strip()))
    if not keys:
        raise ValueError("needs at least one key")
    for number, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(f"key {number} is not a Fernet key (base64url of 32 bytes)") from None
    return tuple(SecretStr(key) for key in keys)


def keys_of_file(path: Path) -> tuple[SecretStr, ...]:
    """Return the keys that a file holds; raises ValueError when it cannot be read or is malformed, naming nothing of it."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode()
    except OSError as error:
        raise ValueError(f"cannot be read ({type(error).__name__})") from None
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    return fernet_keys(SecretStr(text))


def fingerprint(key: SecretStr) -> str:
    """Return the beginning of the key's SHA-256: the same everywhere, and nothing that leads back to the key."""
    return sha256(base64.urlsafe_b64decode(key.get_secret_value())).hexdigest()[:FINGERPRINT_CHARS]
