"""Sealing of secrets at rest: Fernet (AES-128-CBC and HMAC-SHA256) with key rotation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from accounts.security.encryption_keys import fingerprint


class SealBroken(Exception):
    """A stored secret cannot be opened: its key is not among ENCRYPTION_KEY, or the row was changed."""


@dataclass(frozen=True, slots=True)
class _Held:
    """One set of keys; replaced whole, so that no call sees half of another."""

    first: Fernet
    every: MultiFernet
    fingerprints: tuple[str, ...]


class Vault:
    """Seals with the first key and opens with any, so that keys rotate while rows sealed by an older one are still read.

    `take` changes the keys while the service runs. `look_again` is called when something cannot be opened: it returns whether
    other keys were taken up, and then opening is tried once more.
    """

    def __init__(self, keys: Sequence[SecretStr]) -> None:
        self.look_again: Callable[[], bool] = _nothing_new
        self.take(keys)

    def take(self, keys: Sequence[SecretStr]) -> None:
        """Use these keys from now on; ValueError when one is malformed or there is none, and then nothing changes."""
        if not keys:
            raise ValueError("needs at least one key")
        fernets = [Fernet(key.get_secret_value().encode()) for key in keys]
        self._held = _Held(fernets[0], MultiFernet(fernets), tuple(fingerprint(key) for key in keys))

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """What tells the keys apart without telling them; the first one seals."""
        return self._held.fingerprints

    def seal(self, secret: SecretStr) -> bytes:
        """Return the sealed bytes to store."""
        return self._held.every.encrypt(secret.get_secret_value().encode())

    def open(self, sealed: bytes) -> SecretStr:
        """Return the secret. Raises `SealBroken`, which names nothing of it."""
        try:
            return SecretStr(self._decrypt(sealed).decode())
        except InvalidToken:
            raise SealBroken("a stored secret cannot be opened with ENCRYPTION_KEY") from None

    def _decrypt(self, sealed: bytes) -> bytes:
        try:
            return self._held.every.decrypt(sealed)
        except InvalidToken:
            # Another replica may have taken up a new key a moment before this one.
            if not self.look_again():
                raise
        return self._held.every.decrypt(sealed)

    def is_sealed_by_first(self, sealed: bytes) -> bool:
        """Return whether the first key sealed this: then the other keys are not needed for it."""
        try:
            self._held.first.decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def reseal(self, sealed: bytes) -> bytes:
        """Return the same secret sealed by the first key. Raises `SealBroken`."""
        try:
            return self._held.every.rotate(sealed)
        except InvalidToken:
            raise SealBroken("a stored secret cannot be opened with ENCRYPTION_KEY") from None


def _nothing_new() -> bool:
    """Keys that come from nowhere else than the start do not change."""
    return False
