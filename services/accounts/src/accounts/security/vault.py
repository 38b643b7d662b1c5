"""Sealing of secrets at rest: Fernet (AES-128-CBC and HMAC-SHA256) with key rotation."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr


class SealBroken(Exception):
    """A stored secret cannot be opened: its key is not among ENCRYPTION_KEY, or the row was changed."""


class Vault:
    """Seals with the first key and opens with any, so that keys rotate while rows sealed by an older one are still read."""

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        fernets = [Fernet(key.get_secret_value().encode()) for key in keys]
        self._first, self._fernet = fernets[0], MultiFernet(fernets)

    def seal(self, secret: SecretStr) -> bytes:
        """Return the sealed bytes to store."""
        return self._fernet.encrypt(secret.get_secret_value().encode())

    def open(self, sealed: bytes) -> SecretStr:
        """Return the secret. Raises `SealBroken`, which names nothing of it."""
        try:
            return SecretStr(self._fernet.decrypt(sealed).decode())
        except InvalidToken:
            raise SealBroken("a stored secret cannot be opened with ENCRYPTION_KEY") from None

    def is_sealed_by_first(self, sealed: bytes) -> bool:
        """Return whether the first key sealed this: then the other keys are not needed for it."""
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def reseal(self, sealed: bytes) -> bytes:
        """Return the same secret sealed by the first key. Raises `SealBroken`."""
        try:
            return self._fernet.rotate(sealed)
        except InvalidToken:
            raise SealBroken("a stored secret cannot be opened with ENCRYPTION_KEY") from None
