"""Settings of the scheduler, read from the environment here and nowhere else."""

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from common.settings import DatabaseSettings, ServiceSettings
from scheduler.domain.cleanup import Cleanup
from scheduler.domain.outcome import Patience
from scheduler.domain.retry import RetryPolicy
from scheduler.probe.limits import ProbeLimits
from scheduler.storage.claim import ClaimLimits
from scheduler.storage.preflight import PreflightLimits
from scheduler.storage.sweep import SweepLimits
from scheduler.usecases.end_unreadable import OVER_AFTER


class Settings(DatabaseSettings, ServiceSettings):
    """What the scheduler needs; durations are in seconds."""

    SERVICE: ClassVar[str] = "scheduler"

    http_port: int = Field(default=8402, ge=0, le=65535)
    tiktok_sandbox_mode: bool = False
    """The publisher's setting; here it only tells posts beforehand. What really was sent, the publisher tells."""
    storage_url: str = Field(pattern=r"^(file:///|s3://).+", description="file:///abs/path or s3://bucket/prefix")

    retry_delays_seconds: list[float] = Field(default=[60.0, 300.0, 900.0, 3600.0], min_length=1, max_length=20)
    retry_max_attempts: int = Field(default=5, ge=1, le=100)
    retry_jitter: float = Field(default=0.1, ge=0, le=1)

    claim_batch: int = Field(default=500, ge=1, le=5_000)
    claim_per_user: int = Field(default=50, ge=1, le=5_000)
    claim_backlog_limit: int = Field(default=1_000, ge=1)

    preflight_lead_seconds: float = Field(default=900.0, ge=0, le=86_400, description="0: no checks before the due time")
    preflight_batch: int = Field(default=50, ge=1, le=1_000, description="at most so many posts a second and replica")
    preflight_parallel: int = Field(default=10, ge=1, le=100)

    sweep_due_seconds: float = Field(default=120.0, gt=0)
    sweep_publishing_seconds: float = Field(default=600.0, gt=0)
    sweep_processing_seconds: float = Field(default=1800.0, gt=0)

    unconfirmed_after_seconds: float = Field(default=86_400.0, gt=0)
    """The publisher's setting, how long it waits for an outcome; here it tells when none is to come any more."""

    reply_retention_days: int = Field(default=7, ge=1, le=365)
    source_url_allowed_hosts: list[str] = Field(default=[], max_length=100)

    unused_media_retention_days: int = Field(default=90, ge=0, le=3650, description="0: unused files are kept for ever")
    media_bytes_per_user: int = Field(default=0, ge=0, description="of one user's stored files; 0: any number")
    orphan_grace_hours: float = Field(default=24.0, ge=1, le=24 * 365)

    probe_seconds: float = Field(default=20.0, gt=0, le=600)
    probe_memory_bytes: int = Field(default=1024 * 1024 * 1024, ge=256 * 1024 * 1024)
    probe_parallel: int = Field(default=2, ge=1, le=32)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How failed attempts are retried."""
        delays = tuple(timedelta(seconds=seconds) for seconds in self.retry_delays_seconds)
        return RetryPolicy(delays=delays, max_attempts=self.retry_max_attempts, jitter=self.retry_jitter)

    @property
    def patience(self) -> Patience:
        """How long moving posts are left alone."""
        return Patience(
            due=timedelta(seconds=self.sweep_due_seconds),
            publishing=timedelta(seconds=self.sweep_publishing_seconds),
            processing=timedelta(seconds=self.sweep_processing_seconds),
            deferred=timedelta(seconds=self.sweep_due_seconds),
        )

    @property
    def claim_limits(self) -> ClaimLimits:
        """How much one claim takes."""
        return ClaimLimits(
            batch=self.claim_batch, per_user=self.claim_per_user, sweep_after=timedelta(seconds=self.sweep_due_seconds)
        )

    @property
    def preflight_limits(self) -> PreflightLimits:
        """How posts are checked before their due time."""
        return PreflightLimits(
            lead=timedelta(seconds=self.preflight_lead_seconds), batch=self.preflight_batch, parallel=self.preflight_parallel
        )

    @property
    def sweep_limits(self) -> SweepLimits:
        """How much one sweep takes."""
        return SweepLimits(
            again_after=timedelta(seconds=self.sweep_due_seconds),
            hopeless_after=max(OVER_AFTER, 2 * timedelta(seconds=self.unconfirmed_after_seconds)),
        )

    @property
    def cleanup(self) -> Cleanup:
        """When files and bytes of the media library are removed."""
        days = self.unused_media_retention_days
        return Cleanup(
            unused_for=timedelta(days=days) if days else None,
            orphan_grace=timedelta(hours=self.orphan_grace_hours),
            reply_retention=timedelta(days=self.reply_retention_days),
        )

    @property
    def probe_limits(self) -> ProbeLimits:
        """What the media probe may use."""
        return ProbeLimits(seconds=self.probe_seconds, memory_bytes=self.probe_memory_bytes)
