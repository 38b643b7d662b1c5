"""A post as the scheduler knows it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from common.contracts.publisher import WEBHOOK_DENIES_FAILURE
from scheduler.domain.post_states import PostState, Standing


@dataclass(frozen=True, slots=True)
class Post:
    """One post with all its columns; times are aware UTC.

    `held` takes a waiting post out of the due index while its account cannot publish; `attempt` grows over the post's whole life,
    `retry_count` counts automatic retries since a person last started it; attempts up to `dismissed_attempts` whose outcome could
    not be known are, by a person's word, not published; `publisher_sequence` is the highest sequence seen of
    the current attempt; `due_at` is the due time of the current attempt, `forecast_at` the end of a wait that the publisher
    told; `sweep_at` is when a moving post is asked about again, `cancel_at` when the publisher is asked to stop it;
    `checked_version` is the version that the checks before the due time found in order, `check_after` when they may look again;
    `video_since` is since when it is to publish this video for this account (a retry by its owner counts), None: since it was
    created; `given_up_attempt` is the attempt that the scheduler itself wanted stopped, since it cannot ask about it;
    `cancel_asked` tells that its owner wanted it stopped and has not been told whether it was, `video_id_by_owner`
    that its owner named the video, and TikTok has not; `requested_at` is when the newest request was sent by which its owner
    edited, hurried or retried it.
    """

    id: UUID
    user_id: UUID
    account_id: UUID | None
    status: str
    held: bool
    held_reason: str | None
    attempt: int
    retry_count: int
    dismissed_attempts: int
    version: int
    caption: str
    hashtags: list[str]
    mentions: list[str]
    title: str
    privacy_level: str | None
    media_id: UUID | None
    media_sha256: str | None
    source_url: str | None
    photo_urls: list[str]
    mode: str
    transfer: str
    disable_comment: bool
    disable_duet: bool
    disable_stitch: bool
    brand_content_toggle: bool
    brand_organic_toggle: bool
    is_aigc: bool
    cover_timestamp_ms: int | None
    photo_title: str | None
    photo_cover_index: int | None
    auto_add_music: bool
    scheduled_time: datetime | None
    timezone: str | None
    publish_before: datetime | None
    next_attempt_at: datetime | None
    due_at: datetime | None
    forecast_at: datetime | None
    started_at: datetime | None
    submitted_at: datetime | None
    published_at: datetime | None
    ended_at: datetime | None
    publish_id: str | None
    tiktok_video_id: str | None
    video_url: str | None
    error_code: str | None
    error_message: str | None
    error_hint: str | None
    warnings: list[dict[str, Any]]
    publisher_sequence: int
    sweep_at: datetime | None
    cancel_at: datetime | None
    correlation_id: str | None
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    checked_version: int
    check_after: datetime | None
    video_since: datetime | None
    given_up_attempt: int
    cancel_asked: bool
    video_id_by_owner: bool
    requested_at: datetime | None

    @property
    def state(self) -> PostState:
        """The state as the state machine names it."""
        return PostState(self.status)

    @property
    def is_failure_denied(self) -> bool:
        """Whether it failed by TikTok's status, and a webhook of TikTok's said that it is there."""
        return self.state is PostState.FAILED and self.error_code == WEBHOOK_DENIES_FAILURE

    @property
    def is_in_doubt(self) -> bool:
        """Whether it may be live and nobody but its owner can say: only such a post is confirmed, or vouched for and retried."""
        return self.state is PostState.UNCONFIRMED or self.is_failure_denied

    @property
    def is_fetched_by_tiktok(self) -> bool:
        """Whether TikTok fetches the media itself; until it has, it may be asked to give that up."""
        return self.transfer == "pull" or bool(self.photo_urls)

    @property
    def standing(self) -> Standing:
        """Where the post stands, for `transition`."""
        return Standing(self.state, self.attempt, self.publisher_sequence)
