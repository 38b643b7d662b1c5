"""Settings of analytics, read from the environment."""

from datetime import timedelta
from typing import Annotated, ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field, PositiveFloat, SecretStr

from analytics.domain.look_times import VideoLooks
from analytics.usecases.keep_statistics import Kept
from common.auth.keys import private_key_from, public_key_from
from common.settings import BaseUrl, DatabaseSettings, EnvironmentSettings, PrivateKey, ServiceSettings

MAX_AGES = 24
SHORTEST_RETENTION_DAYS, LONGEST_RETENTION_DAYS = 31, 36_500


def _public_keys(keys: list[str]) -> list[str]:
    for text in keys:
        public_key_from(text)
    return keys


def _growing(ages: list[float]) -> list[float]:
    if ages != sorted(set(ages)) or len(ages) > MAX_AGES:
        raise ValueError(f"must be up to {MAX_AGES} ages, each greater than the one before")
    return ages


class OwnerSettings(EnvironmentSettings):
    """What a command of the database's owner needs: `database_url` is the owner's."""

    database_url: SecretStr = Field(description="postgresql://analytics_owner:password@host:port/analytics")


class Settings(ServiceSettings, DatabaseSettings):
    """What analytics needs besides the settings of every service.

    `post_metrics_ages_hours` are the ages at which a published video's numbers are read, before they are read daily until it is
    `post_metrics_days` old.

    `audit_signing_key` (Ed25519, base64url) signs what stays of a dropped month; `audit_trusted_keys` are the public keys of
    earlier signing keys, whose checkpoints go on to count.
    """

    SERVICE: ClassVar[str] = "analytics"

    http_port: int = Field(default=8403, ge=0, le=65535)
    event_retention_days: int = Field(default=400, ge=SHORTEST_RETENTION_DAYS, le=LONGEST_RETENTION_DAYS)
    event_batch_size: int = Field(default=500, ge=1, le=5_000)
    tiktok_api_url: BaseUrl = "https://open.tiktokapis.com"
    user_info_calls_per_minute: float = Field(default=40, gt=0, le=600)
    video_query_calls_per_minute: float = Field(default=300, gt=0, le=600)
    """What all replicas together ask TikTok, which allows 600 a minute of each; accounts reads users' profiles, too."""
    snapshot_concurrency: int = Field(default=16, ge=1, le=40)
    video_look_concurrency: int = Field(default=8, ge=1, le=40)
    post_metrics_ages_hours: Annotated[list[PositiveFloat], AfterValidator(_growing)] = [1, 6, 24]
    post_metrics_days: int = Field(default=180, ge=1, le=3_650)
    snapshot_retention_days: int = Field(default=800, ge=31, le=36_500)
    post_metrics_retention_days: int = Field(default=800, ge=31, le=36_500)
    account_days_retention_days: int = Field(default=3_650, ge=31, le=36_500)
    post_statistics_retention_days: int = Field(default=3_650, ge=31, le=36_500)
    audit_signing_key: PrivateKey
    audit_trusted_keys: Annotated[list[str], AfterValidator(_public_keys)] = []

    @property
    def retention(self) -> timedelta:
        """How long events are kept, at least: whole months are dropped."""
        return timedelta(days=self.event_retention_days)

    @property
    def video_looks(self) -> VideoLooks:
        """When a published video's numbers are read."""
        ages = tuple(timedelta(hours=hours) for hours in self.post_metrics_ages_hours)
        return VideoLooks(ages, timedelta(days=self.post_metrics_days))

    @property
    def kept_statistics(self) -> Kept:
        """How long statistics are kept."""
        return Kept(
            snapshots=timedelta(days=self.snapshot_retention_days),
            metrics=timedelta(days=self.post_metrics_retention_days),
            days=timedelta(days=self.account_days_retention_days),
            posts=timedelta(days=self.post_statistics_retention_days),
        )

    @property
    def audit_key(self) -> Ed25519PrivateKey:
        """The key that signs checkpoints."""
        return private_key_from(self.audit_signing_key.get_secret_value())

    @property
    def audit_public_keys(self) -> frozenset[bytes]:
        """The raw public keys whose checkpoints count."""
        trusted = (public_key_from(text).public_bytes_raw() for text in self.audit_trusted_keys)
        return frozenset({self.audit_key.public_key().public_bytes_raw(), *trusted})
