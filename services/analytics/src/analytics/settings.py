"""Settings of analytics, read from the environment."""

from datetime import timedelta
from typing import Annotated, ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field

from common.auth.keys import private_key_from, public_key_from
from common.settings import DatabaseSettings, PrivateKey, ServiceSettings


def _public_keys(keys: list[str]) -> list[str]:
    for text in keys:
        public_key_from(text)
    return keys


class Settings(ServiceSettings, DatabaseSettings):
    """What analytics needs besides the settings of every service.

    `audit_signing_key` (Ed25519, base64url) signs what stays of a dropped month; `audit_trusted_keys` are the public keys of
    earlier signing keys, whose checkpoints go on to count.
    """

    SERVICE: ClassVar[str] = "analytics"

    http_port: int = Field(default=8403, ge=0, le=65535)
    event_retention_days: int = Field(default=400, ge=31, le=36_500)
    event_batch_size: int = Field(default=500, ge=1, le=5_000)
    audit_signing_key: PrivateKey
    audit_trusted_keys: Annotated[list[str], AfterValidator(_public_keys)] = []

    @property
    def retention(self) -> timedelta:
        """How long events are kept, at least: whole months are dropped."""
        return timedelta(days=self.event_retention_days)

    @property
    def audit_key(self) -> Ed25519PrivateKey:
        """The key that signs checkpoints."""
        return private_key_from(self.audit_signing_key.get_secret_value())

    @property
    def audit_public_keys(self) -> frozenset[bytes]:
        """The raw public keys whose checkpoints count."""
        trusted = (public_key_from(text).public_bytes_raw() for text in self.audit_trusted_keys)
        return frozenset({self.audit_key.public_key().public_bytes_raw(), *trusted})
