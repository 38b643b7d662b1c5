"""What goes to and comes from the posting endpoints."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tiktok.chunks import ChunkPlan


class PrivacyLevel(StrEnum):
    """Who may see a post; which of them a creator has is in creator info."""

    PUBLIC_TO_EVERYONE = "PUBLIC_TO_EVERYONE"
    MUTUAL_FOLLOW_FRIENDS = "MUTUAL_FOLLOW_FRIENDS"
    FOLLOWER_OF_CREATOR = "FOLLOWER_OF_CREATOR"
    SELF_ONLY = "SELF_ONLY"


class PublishState(StrEnum):
    """The states of a publication that TikTok documents."""

    PROCESSING_UPLOAD = "PROCESSING_UPLOAD"
    PROCESSING_DOWNLOAD = "PROCESSING_DOWNLOAD"
    SEND_TO_USER_INBOX = "SEND_TO_USER_INBOX"
    PUBLISH_COMPLETE = "PUBLISH_COMPLETE"
    FAILED = "FAILED"


class CreatorInfo(BaseModel):
    """What a creator may post now. Unknown privacy levels are kept as they are."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    creator_username: str = ""
    creator_nickname: str = ""
    creator_avatar_url: str | None = None
    privacy_level_options: tuple[str, ...]
    comment_disabled: bool = False
    duet_disabled: bool = False
    stitch_disabled: bool = False
    max_video_post_duration_sec: int


class PostInfo(BaseModel):
    """``post_info`` of a direct video post; ``title`` is the whole caption, None leaves it out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    privacy_level: str
    title: str | None = None
    disable_comment: bool = False
    disable_duet: bool = False
    disable_stitch: bool = False
    video_cover_timestamp_ms: int | None = None
    brand_content_toggle: bool = False
    brand_organic_toggle: bool = False
    is_aigc: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the object as TikTok wants it, without what is None."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True, slots=True)
class FileSource:
    """``source_info`` of an upload in chunks."""

    plan: ChunkPlan

    def to_json(self) -> dict[str, Any]:
        """Return the object as TikTok wants it; sizes in bytes."""
        return {
            "source": "FILE_UPLOAD",
            "video_size": self.plan.size,
            "chunk_size": self.plan.chunk_size,
            "total_chunk_count": self.plan.count,
        }


@dataclass(frozen=True, slots=True)
class PullSource:
    """``source_info`` of a video that TikTok fetches itself: https, a verified domain or prefix, no redirects.

    The address may be signed, so it is not shown in ``repr``.
    """

    video_url: str = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the object as TikTok wants it."""
        return {"source": "PULL_FROM_URL", "video_url": self.video_url}


@dataclass(frozen=True, slots=True)
class VideoInit:
    """An accepted init. ``upload_url`` is signed (treat as a secret), used as it is, and good for one hour.

    ``log_id`` is that of the answer, to quote when asking TikTok.
    """

    publish_id: str
    upload_url: str = field(repr=False)
    log_id: str | None = None


@dataclass(frozen=True, slots=True)
class PullInit:
    """An accepted init of what TikTok fetches itself; ``log_id`` is that of the answer."""

    publish_id: str
    log_id: str | None = None


class PublishStatus(BaseModel):
    """What TikTok says of a publication. ``status`` may be a value not known yet; then it is not finished.

    ``post_ids`` are strings whatever TikTok sent (a list of numbers or strings, or a bare value); often empty. ``log_id`` is
    that of the answer, to quote when asking TikTok.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    status: str
    fail_reason: str | None = None
    post_ids: tuple[str, ...] = Field(default=(), alias="publicaly_available_post_id")
    uploaded_bytes: int | None = None
    downloaded_bytes: int | None = None
    log_id: str | None = None

    @property
    def complete(self) -> bool:
        """Whether TikTok says that it is published."""
        return self.status == PublishState.PUBLISH_COMPLETE

    @property
    def failed(self) -> bool:
        """Whether TikTok says that it failed and never will be published."""
        return self.status == PublishState.FAILED

    @field_validator("fail_reason", mode="before")
    @classmethod
    def _blank_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("post_ids", mode="before")
    @classmethod
    def _as_strings(cls, value: object) -> tuple[str, ...]:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(text for item in items if (text := _id_text(item)) is not None)


def _id_text(item: object) -> str | None:
    """Return a post id's digits; None for what is no id (null, zero, blank)."""
    if isinstance(item, bool) or not isinstance(item, int | str | Decimal):
        return None
    digits = str(int(item)) if isinstance(item, Decimal) and item == item.to_integral_value() else str(item).strip()
    return digits if digits not in {"", "0"} else None
