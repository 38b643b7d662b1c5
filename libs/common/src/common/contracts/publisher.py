"""Events of the publisher. Subject is the post's id; `sequence` is the job's step counter."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from common.contracts.message import Event

Evidence = Literal["status", "webhook", "video_list"]
"""Where TikTok showed it: its status, a webhook alone while the status could not be had, or the creator's list of videos."""


EARLIER_ATTEMPT_PUBLISHED = "earlier_attempt_published"
WEBHOOK_DENIES_FAILURE = "webhook_denies_failure"
"""TikTok's status says that an attempt failed, its webhook that something came of it: only a person's word repeats the post."""


class PublishEvent(Event):
    """What every publish event carries. `again` marks an answer to the sweep: nothing new happened."""

    again: bool = False
    post_id: UUID
    attempt: int
    job_id: UUID
    account_id: UUID
    replica: str


class PublishStarted(PublishEvent):
    """A replica took the job for the first time; `lateness_ms` is started_at minus due_at."""

    KEY: ClassVar[str] = "publisher.publish.started.v1"
    due_at: datetime
    started_at: datetime
    lateness_ms: float


class PublishDeferred(PublishEvent):
    """The job waits (quota, breaker, account, TikTok away) until the forecast; it costs no attempt.

    Without a forecast (`until` null) it waits for a person: the account is paused or must be connected again, or TikTok takes none
    of its posts of this `mode`.
    """

    KEY: ClassVar[str] = "publisher.publish.deferred.v1"
    mode: Literal["direct", "inbox"] | None = None
    until: datetime | None = None
    code: str
    message: str
    hint: str | None = None
    log_id: str | None = None


class PublishSubmitted(PublishEvent):
    """All bytes (or the pull order) are with TikTok, which now processes them.

    `privacy_level` is the one it was sent with, whatever was asked (sandbox mode); null for a draft. `log_id` is that of TikTok's
    answer to the init.
    """

    KEY: ClassVar[str] = "publisher.publish.submitted.v1"
    publish_id: str
    total_bytes: int | None = None
    privacy_level: str | None = None
    log_id: str | None = None


class PublishSucceeded(PublishEvent):
    """TikTok said so. `outcome` tells a live post from a draft delivered to the creator's inbox.

    `publish_id` is null for a post whose init was never answered and that was found at TikTok all the same. `privacy_level` is the
    one it was sent with, null for a draft and where it is not known.
    """

    KEY: ClassVar[str] = "publisher.publish.succeeded.v1"
    publish_id: str | None
    outcome: Literal["published", "sent_to_inbox"]
    published_at: datetime
    tiktok_video_id: str | None = None
    video_url: str | None = None
    evidence: Evidence = "status"
    log_id: str | None = None
    privacy_level: str | None = None


class PublishFailed(PublishEvent):
    """Proof that this attempt published nothing and never will."""

    KEY: ClassVar[str] = "publisher.publish.failed.v1"
    code: str
    message: str
    hint: str | None = None
    retryable: bool
    retry_after: float | None = None
    publish_id: str | None = None
    log_id: str | None = None


class PublishUnconfirmed(PublishEvent):
    """TikTok's outcome cannot be known; a person, a webhook or a later look may settle it."""

    KEY: ClassVar[str] = "publisher.publish.unconfirmed.v1"
    code: str
    message: str
    hint: str | None = None
    publish_id: str | None = None
    log_id: str | None = None


class PublishCancelled(PublishEvent):
    """The attempt was cancelled before anything could be published.

    `code` is null when somebody asked for it, `earlier_attempt_published` when the post turned out to be live already.
    """

    KEY: ClassVar[str] = "publisher.publish.cancelled.v1"
    code: str | None = None


class PublishIdentified(PublishEvent):
    """The video's id became known after the success was told."""

    KEY: ClassVar[str] = "publisher.publish.identified.v1"
    publish_id: str | None
    tiktok_video_id: str
    video_url: str | None = None
    evidence: Evidence = "status"
