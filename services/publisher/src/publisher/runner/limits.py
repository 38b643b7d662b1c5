"""How long a job is patient, made from the settings."""

from dataclasses import dataclass
from datetime import timedelta

from publisher.domain.tiktok_limits import Caps
from publisher.settings import Settings

ANNOUNCE_AFTER_SECONDS = 5.0
"""Shorter waits are not told as events."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations and caps that decide about jobs; `sandbox` posts everything as SELF_ONLY."""

    upload_url: timedelta
    settle: timedelta
    give_up: timedelta
    refused_patience: timedelta
    webhook_patience: timedelta
    vouch_after: timedelta
    creator_info: timedelta
    fetch: timedelta
    sandbox: bool
    caps: Caps

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return the limits that the settings ask for."""
        return cls(
            upload_url=timedelta(seconds=settings.upload_url_seconds),
            settle=timedelta(seconds=settings.upload_settle_seconds),
            give_up=timedelta(seconds=settings.unconfirmed_after_seconds),
            refused_patience=timedelta(seconds=settings.refused_patience_seconds),
            webhook_patience=timedelta(seconds=settings.webhook_patience_seconds),
            vouch_after=timedelta(seconds=settings.vouch_after_seconds),
            creator_info=timedelta(seconds=settings.creator_info_seconds),
            fetch=timedelta(seconds=settings.source_seconds),
            sandbox=settings.tiktok_sandbox_mode,
            caps=Caps.of(
                daily_posts=settings.daily_posts_per_creator,
                pending_drafts=settings.daily_drafts_per_creator,
                active_users=settings.daily_creators,
            ),
        )
