"""Settings of the publisher, read from the environment."""

import math
from typing import Annotated, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from common.settings import BaseUrl, DatabaseSettings, ServiceSettings

SLOWEST_UPLOAD = 100_000
"""Bytes a second: less, and a chunk of 64 MB would not be through before its time is over."""

DRAIN_SHARE = 0.4
"""Of the grace time one half is the requests', and of the other one fifth each the end of the intake and the hand-back."""


class Settings(ServiceSettings, DatabaseSettings):
    """What the publisher needs to run; times in seconds."""

    SERVICE: ClassVar[str] = "publisher"

    http_port: int = Field(default=8411, ge=0, le=65535)
    tiktok_api_url: BaseUrl = "https://open.tiktokapis.com"
    tiktok_sandbox_mode: bool = False
    storage_url: Annotated[str, Field(pattern=r"^(file:///|s3://).+")]

    max_jobs_in_flight: int = Field(default=500, ge=2, le=10_000)
    upload_concurrency: int = Field(default=16, ge=1, le=500)
    daily_posts_per_creator: int = Field(default=15, ge=0, le=100_000)
    daily_drafts_per_creator: int = Field(default=5, ge=0, le=100_000)
    daily_creators: int = Field(default=0, ge=0, le=100_000)
    """TikTok's caps within 24 hours; 0: not counted, only TikTok's own refusals are waited out."""

    breaker_failures: int = Field(default=10, ge=1, le=10_000)
    breaker_open_seconds: float = Field(default=30.0, ge=0.1, le=3600)
    """A TikTok endpoint that failed so often in a row is left alone for so long, then tried by one call."""

    lease_seconds: float = Field(default=15.0, ge=0.5, le=300)
    drain_seconds: float = Field(default=32.0, ge=0, le=600, validate_default=True)
    """Longer than a call to TikTok may take: an init that publishes and is broken off leaves nobody who knows of it."""
    shutdown_grace_seconds: float = Field(default=80.0, gt=0, le=600)
    publish_paused: bool = False
    """Jobs are accepted and kept, none is started: for maintenance and for measuring intake alone."""

    upload_url_seconds: float = Field(default=3600.0, gt=0)
    upload_settle_seconds: float = Field(default=60.0, ge=0)
    unconfirmed_after_seconds: float = Field(default=86_400.0, gt=0)
    refused_patience_seconds: float = Field(default=3600.0, ge=0)
    webhook_patience_seconds: float = Field(default=600.0, ge=0)
    """So long after a webhook TikTok's status may stay silent; then what the webhook told counts by itself."""
    vouch_after_seconds: float = Field(default=3600.0, ge=0)
    """So long after an init without an answer, of what TikTok fetches itself, nobody can know that it was not published."""
    creator_info_seconds: float = Field(default=60.0, ge=0)
    source_url_allowed_hosts: list[str] = Field(default=[], max_length=100)
    """For development: `host` or `host:port` that files are fetched from over http and at private addresses, too."""
    source_max_bytes: int = Field(default=524_288_000, ge=1, le=4 * 1024**3)
    source_seconds: float = Field(default=1800.0, gt=0, le=86_400)
    """How long fetching a file may take in one go."""
    source_stall_seconds: float = Field(default=30.0, gt=0, le=600)
    source_bytes_per_second: int = Field(default=16_384, ge=0)
    """The slowest a file may come."""
    upload_max_bytes: int = Field(default=524_288_000, ge=1)
    """As the gateway has it: the largest file that comes by upload."""
    upload_bytes_per_second: int = Field(default=0, ge=0)
    """What all uploads of the replica send together; 0: no limit."""

    retention_days: float = Field(default=30.0, gt=0)
    inbox_retention_days: float = Field(default=14.0, gt=0)

    @field_validator("drain_seconds")
    @classmethod
    def _leaves_time_for_the_hand_back(cls, drain: float, info: ValidationInfo) -> float:
        grace = info.data.get("shutdown_grace_seconds")
        if grace is not None and drain > DRAIN_SHARE * grace:
            raise ValueError(
                f"must be at most {DRAIN_SHARE:g} of SHUTDOWN_GRACE_SECONDS, so that the leases can be handed back"
            )
        return drain

    @field_validator("upload_bytes_per_second")
    @classmethod
    def _is_enough_for_all(cls, rate: int, info: ValidationInfo) -> int:
        given = info.data
        concurrency = int(given.get("upload_concurrency", 1))
        largest = max(int(given.get("upload_max_bytes", 0)), int(given.get("source_max_bytes", 0)))
        whole = math.ceil(largest / float(given.get("upload_url_seconds", 1.0)))
        least = max(SLOWEST_UPLOAD, whole) * concurrency
        if 0 < rate < least:
            raise ValueError(
                f"must be 0 or at least {least}: with UPLOAD_CONCURRENCY uploads at once, a file of {largest} bytes"
                " (UPLOAD_MAX_BYTES, SOURCE_MAX_BYTES) would not be through within UPLOAD_URL_SECONDS. Allow more, or fewer at once"
            )
        return rate
