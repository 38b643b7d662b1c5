"""Events and commands of the scheduler. Subject of `post.*` is the post's id, `sequence` its version."""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from common.contracts.message import Command, Event, Message
from common.contracts.moment import LocalMoment, Moment

PrivacyLevel = Literal["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY"]
Mode = Literal["direct", "inbox"]
Transfer = Literal["upload", "pull"]


class MediaFile(Message):
    """Where a media file lies in object storage, and what is known of it."""

    media_id: UUID
    storage_key: str
    content_type: str
    size_bytes: int
    sha256: str
    duration_ms: int | None = None


class MediaReady(Event):
    """A file passed the probe and may be posted; a photo has neither frame rate nor codec."""

    KEY: ClassVar[str] = "scheduler.media.ready.v1"
    media: MediaFile
    filename: str
    width: int
    height: int
    fps: float | None
    video_codec: str | None


class MediaRejected(Event):
    """A file broke TikTok's rules; every broken rule is named."""

    KEY: ClassVar[str] = "scheduler.media.rejected.v1"
    media_id: UUID
    filename: str
    problems: list[dict[str, Any]]


class MediaDeleted(Event):
    """A file was deleted by its owner, or pruned because nothing had used it for long."""

    KEY: ClassVar[str] = "scheduler.media.deleted.v1"
    media_id: UUID
    reason: Literal["deleted", "pruned"] = "deleted"


class PostEvent(Event):
    """What every post event carries: the post's state after the event."""

    post_id: UUID
    account_id: UUID | None
    status: str
    attempt: int
    scheduled_time: datetime | None = None


class PostDrafted(PostEvent):
    """A draft was saved; `changes` are its first values, with null before each.

    `warnings` are what may stop it at its time although it breaks no rule.
    """

    KEY: ClassVar[str] = "scheduler.post.drafted.v1"
    changes: dict[str, Any] = {}
    warnings: list[dict[str, Any]] = []


class PostScheduled(PostEvent):
    """The post will be published at `scheduled_time`.

    `changes` tells what its owner changed in the draft it was; of one that was none, the first values, with null before each.
    `warnings` are what may stop it at its time although it breaks no rule.
    """

    KEY: ClassVar[str] = "scheduler.post.scheduled.v1"
    changes: dict[str, Any] = {}
    warnings: list[dict[str, Any]] = []


class PostUpdated(PostEvent):
    """It changed otherwise than in state: its owner changed it, or the checks before its time found something.

    `changes` maps a field to its old and new value (of addresses only what precedes the `?`); `warnings` among them are what may
    stop it at its time although it breaks no rule, as the change or those checks found.
    """

    KEY: ClassVar[str] = "scheduler.post.updated.v1"
    changes: dict[str, Any] = {}


class PostHeld(PostEvent):
    """It waits because its account is paused or expired; `held` false tells that it goes on."""

    KEY: ClassVar[str] = "scheduler.post.held.v1"
    held: bool
    reason: str


class PostCancelled(PostEvent):
    """It will not be published; `changes` tells what that changed, where its owner cancelled it."""

    KEY: ClassVar[str] = "scheduler.post.cancelled.v1"
    changes: dict[str, Any] = {}
    reason: str


class PostContent(Message):
    """What is sent to TikTok with the media. `title` is the caption with hashtags and mentions joined in.

    Of photos that is the description, `photo_title` their title, and `photo_cover_index` (from 0) the place of their cover.
    """

    title: str
    privacy_level: PrivacyLevel | None
    disable_comment: bool = False
    disable_duet: bool = False
    disable_stitch: bool = False
    brand_content_toggle: bool = False
    brand_organic_toggle: bool = False
    is_aigc: bool = False
    cover_timestamp_ms: int | None = None
    photo_title: str | None = None
    photo_cover_index: int = 0
    auto_add_music: bool = False


class PostDue(PostEvent):
    """Its time has come: all the publisher needs. Jobs are unique by (post, attempt).

    `again` marks the sweep's question about an attempt that was told before: nothing new happened. Attempts up to
    `dismissed_attempts` whose outcome could not be known are, by a person's word, not published. Addresses end before the `?`: the
    rest may be a signature, and the publisher asks for it.
    """

    KEY: ClassVar[str] = "scheduler.post.due.v1"
    again: bool = False
    dismissed_attempts: int = 0
    account_id: UUID
    user_id: UUID
    due_at: datetime
    publish_before: datetime
    mode: Mode
    transfer: Transfer
    content: PostContent
    media: MediaFile | None = None
    source_url: str | None = None
    photo_urls: list[str] = []


class PostRetryScheduled(PostEvent):
    """An attempt failed for a passing reason, or its owner wants another; the next one starts at `next_attempt_at`.

    `by_owner` tells a person's wish, and `changes` what that changed, from the machine's own retry; `confirmed_not_published` that
    the person vouched for it, and `not_videos` which videos that may have been this post the person said are not.
    """

    KEY: ClassVar[str] = "scheduler.post.retry_scheduled.v1"
    by_owner: bool = False
    changes: dict[str, Any] = {}
    confirmed_not_published: bool = False
    not_videos: list[str] = []
    next_attempt_at: datetime
    code: str
    message: str


class PostFailed(PostEvent):
    """It was not published and the machine will not try again."""

    KEY: ClassVar[str] = "scheduler.post.failed.v1"
    code: str
    message: str
    hint: str | None = None


class PostPublished(PostEvent):
    """It is live at TikTok, or (`status` tells) a draft in the creator's inbox, which is published only when its creator posts it.

    `published_at` is null for a draft. `by_owner`: a person says so, not TikTok, and `changes` tells what that changed.
    """

    KEY: ClassVar[str] = "scheduler.post.published.v1"
    by_owner: bool = False
    changes: dict[str, Any] = {}
    publish_id: str | None = None
    tiktok_video_id: str | None = None
    video_url: str | None = None
    published_at: datetime | None


class PostUnconfirmed(PostEvent):
    """Whether it went live cannot be known."""

    KEY: ClassVar[str] = "scheduler.post.unconfirmed.v1"
    code: str
    message: str
    hint: str | None = None


class RegisterMedia(Command):
    """Probe an uploaded file and take it into the library."""

    KEY: ClassVar[str] = "scheduler.register_media.v1"
    media_id: UUID
    storage_key: str
    filename: str
    content_type: str
    size_bytes: int
    sha256: str


class DeleteMedia(Command):
    """DELETE `/media/{id}`."""

    KEY: ClassVar[str] = "scheduler.delete_media.v1"
    media_id: UUID


class PostFields(Message):
    """What a client says of a post; `scheduled_time` carries an offset, or none together with `timezone`."""

    tiktok_account_id: UUID | None = None
    caption: str = Field(default="", max_length=20_000)
    """Only a size cap: the rule, 2200 UTF-16 units of the whole title (photos: 4000), is the scheduler's and has its own code."""
    hashtags: list[str] = Field(default=[], max_length=100)
    mentions: list[str] = Field(default=[], max_length=100)
    privacy_level: PrivacyLevel | None = None
    media_id: UUID | None = None
    source_url: str | None = Field(default=None, max_length=2048)
    photo_urls: list[str] = Field(default=[], max_length=35)
    mode: Mode = "direct"
    transfer: Transfer = "upload"
    disable_comment: bool = False
    disable_duet: bool = False
    disable_stitch: bool = False
    brand_content_toggle: bool = False
    brand_organic_toggle: bool = False
    is_aigc: bool = False
    cover_timestamp_ms: int | None = Field(default=None, ge=0, le=600_000)
    photo_title: str | None = Field(default=None, max_length=20_000)
    photo_cover_index: int | None = Field(default=None, ge=0, le=34)
    auto_add_music: bool = False
    scheduled_time: LocalMoment | None = None
    timezone: str | None = Field(default=None, max_length=64)
    publish_before: Moment | None = None
    draft: bool = False
    allow_duplicate: bool = False


class CreatePost(PostFields, Command):
    """Body of POST `/posts`."""

    KEY: ClassVar[str] = "scheduler.create_post.v1"


class GivenFields(PostFields):
    """Some fields of a post: only those that were given count, and only they travel."""

    @model_serializer(mode="wrap")
    def _given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if name in self.model_fields_set}

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were given, with their values; null takes a value away."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class UpdatePost(Command):
    """PUT and PATCH `/posts/{id}`; `if_match` are the versions (entity tags without quotes) that may be changed, null any."""

    KEY: ClassVar[str] = "scheduler.update_post.v1"
    post_id: UUID
    changes: GivenFields
    if_match: list[str] | None = None


class RowProblem(Message):
    """Why a row of a batch makes no post."""

    field: str
    code: str
    message: str
    hint: str | None = None
    alternatives: list[str] = []


class Row(Message):
    """A row of a batch, counted from 1: a post, or why it cannot be read as one."""

    row: int
    post: GivenFields | None = None
    problems: list[RowProblem] = []


BulkMode = Literal["all_or_nothing", "valid_rows"]
MAX_ROWS = 500


class CreatePosts(Command):
    """POST `/posts/bulk`: many posts at once; with `dry_run` nothing is stored."""

    KEY: ClassVar[str] = "scheduler.create_posts.v1"
    rows: list[Row] = Field(min_length=1, max_length=MAX_ROWS)
    mode: BulkMode = "all_or_nothing"
    dry_run: bool = False


class CancelPost(Command):
    """DELETE `/posts/{id}`."""

    KEY: ClassVar[str] = "scheduler.cancel_post.v1"
    post_id: UUID


class PublishPostNow(Command):
    """POST `/posts/{id}/publish-now`: due at once."""

    KEY: ClassVar[str] = "scheduler.publish_post_now.v1"
    post_id: UUID


class RetryPost(Command):
    """POST `/posts/{id}/retry`: another attempt of a failed post, or of one that may be live and that a person knows is not.

    `not_videos` are the creator's videos that the person has seen and that are not this post.
    """

    KEY: ClassVar[str] = "scheduler.retry_post.v1"
    post_id: UUID
    confirm_not_published: bool = False
    not_videos: list[str] = []
    allow_duplicate: bool = False


class ConfirmPost(Command):
    """POST `/posts/{id}/confirm`: a person found the video of a post that may be live at TikTok."""

    KEY: ClassVar[str] = "scheduler.confirm_post.v1"
    post_id: UUID
    tiktok_video_id: str
