"""Shapes of posts."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from common.contracts.scheduler import MAX_ROWS, BulkMode, CreatePost, GivenFields, Mode, PrivacyLevel, Transfer
from gateway.api.models.media import Media

PostStatusName = Literal[
    "draft",
    "scheduled",
    "due",
    "publishing",
    "deferred",
    "processing",
    "retry_scheduled",
    "published",
    "sent_to_inbox",
    "unconfirmed",
    "failed",
    "cancelled",
]


class NewPost(CreatePost):
    """A post to be made; `scheduled_time` carries an offset, or none together with `timezone`."""

    model_config = ConfigDict(extra="forbid")


class PostPatch(GivenFields):
    """The fields to change; null takes a value away, what is left out stays."""

    model_config = ConfigDict(extra="forbid")


VideoId = Annotated[str, Field(min_length=1, max_length=19, pattern="^[1-9][0-9]*$", examples=["7301234567890123456"])]
MAX_NOT_VIDEOS = 200
"""Twice as many as are ever named at once: some may be gone, and others have come."""


class RetryBody(BaseModel):
    """What you know and want.

    `confirm_not_published`: you have looked at TikTok, and the post is not there; needed for unconfirmed posts, and for failed
    ones of which a webhook said that they are there (`webhook_denies_failure`).
    `not_videos`: ids of the videos that may be the post (409 `possible_videos` names them) and that you say are not.
    `allow_duplicate`: also when another post of the last 24 hours has the same video for the same account.
    """

    model_config = ConfigDict(extra="forbid")

    confirm_not_published: bool = False
    not_videos: list[VideoId] = Field(default=[], max_length=MAX_NOT_VIDEOS)
    allow_duplicate: bool = False


class ConfirmBody(BaseModel):
    """The video you found at TikTok."""

    model_config = ConfigDict(extra="forbid")

    tiktok_video_id: VideoId


class BulkOptions(BaseModel):
    """`all_or_nothing` stores nothing when a row breaks a rule, `valid_rows` stores the others; `dry_run` stores nothing."""

    model_config = ConfigDict(extra="forbid")

    mode: BulkMode = "all_or_nothing"
    dry_run: bool = False


class BulkPosts(BulkOptions):
    """Up to 500 posts; each has the fields of a single one."""

    posts: list[Any] = Field(min_length=1, max_length=MAX_ROWS)


class PostProblem(BaseModel):
    """A rule that a post breaks; `alternatives` are times to choose from where a local time is missing or shown twice."""

    field: str
    code: str
    message: str
    hint: str | None
    alternatives: list[str] = []


class Warning(BaseModel):  # noqa: A001 - the name in the API's documentation
    """Something that did not stop the post but may matter later; `alternatives` are times at which it would not."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str


class Validation(BaseModel):
    """Every rule that a post would break, and the warnings that it would carry if it were made."""

    valid: bool
    problems: list[PostProblem]
    warnings: list[Warning]


class Post(BaseModel):
    """A post."""

    id: UUID
    tiktok_account_id: UUID | None
    status: PostStatusName
    caption: str
    hashtags: list[str]
    mentions: list[str]
    privacy_level: PrivacyLevel | None
    media_id: UUID | None
    source_url: str | None
    photo_urls: list[str]
    mode: Mode
    transfer: Transfer
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
    published_at: datetime | None
    publish_id: str | None
    tiktok_video_id: str | None
    video_url: str | None
    error_code: str | None
    error_message: str | None
    error_hint: str | None
    warnings: list[Warning]
    retry_count: int
    version: int
    created_at: datetime
    updated_at: datetime


class FetchProgress(BaseModel):
    """How much of the video has come from its address; `total_bytes` is null while that is not known."""

    fetched_bytes: int
    total_bytes: int | None


class UploadProgress(BaseModel):
    """How far the upload to TikTok is."""

    sent_bytes: int
    total_bytes: int


class Reason(BaseModel):
    """Why the post stands where it does."""

    code: str
    message: str
    hint: str | None = None


class PostStatus(BaseModel):
    """Where the post stands now, and what comes next when."""

    post_id: UUID
    status: PostStatusName
    attempt: int
    fetch: FetchProgress | None
    upload: UploadProgress | None
    publish_id: str | None
    tiktok_status: str | None
    next_step: str | None
    next_step_at: datetime | None
    reason: Reason | None
    updated_at: datetime


class PlanningStep(BaseModel):
    """One step of the way."""

    step: str
    status: str
    started_at: datetime | None = None
    finished_at: datetime | None = None


class LogEntry(BaseModel):
    """One event of the post's timeline."""

    at: datetime
    type: str
    message: str
    attempt: int | None = None
    replica: str | None = None
    details: dict[str, Any] = {}


class PostDetail(BaseModel):
    """The post with where it stands now, its plan, its timeline and its media.

    `execution_logs_complete` is false when the timeline could not be had (`execution_logs` is empty then, whatever happened), when
    more than its newest 1,000 things happened, and when records were dropped that are not older than the post.
    """

    post: Post
    planning: list[PlanningStep]
    execution_logs: list[LogEntry]
    execution_logs_complete: bool
    attached_media: list[Media]
    status: PostStatus


class RowVerdict(BaseModel):
    """What became of a row, counted from 1: `valid` rows were not stored, because of the mode or a dry run."""

    row: int
    status: Literal["created", "valid", "invalid"]
    post: Post | None
    problems: list[PostProblem]
    warnings: list[Warning]


class BulkVerdicts(BaseModel):
    """What became of a batch; `valid` counts the created ones, too."""

    mode: BulkMode
    dry_run: bool
    total: int
    created: int
    valid: int
    invalid: int
    items: list[RowVerdict]
