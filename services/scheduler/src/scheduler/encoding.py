"""Posts and media as clients see them: exactly the design's fields."""

from datetime import datetime
from typing import Any

from common.clock import rfc3339
from scheduler.domain.finding import Finding
from scheduler.domain.holds import hold_of
from scheduler.domain.media import Media
from scheduler.domain.post import Post


def moment(value: datetime | None) -> str | None:
    """Format a time as RFC 3339 in UTC, None stays None."""
    return None if value is None else rfc3339(value)


def post_json(post: Post) -> dict[str, Any]:
    """Return the public JSON object of a post; one that waits for its account says so among its warnings and has no time."""
    return {
        "id": str(post.id),
        "tiktok_account_id": None if post.account_id is None else str(post.account_id),
        "status": post.status,
        "caption": post.caption,
        "hashtags": post.hashtags,
        "mentions": post.mentions,
        "privacy_level": post.privacy_level,
        "media_id": None if post.media_id is None else str(post.media_id),
        "source_url": post.source_url,
        "photo_urls": post.photo_urls,
        "mode": post.mode,
        "transfer": post.transfer,
        "disable_comment": post.disable_comment,
        "disable_duet": post.disable_duet,
        "disable_stitch": post.disable_stitch,
        "brand_content_toggle": post.brand_content_toggle,
        "brand_organic_toggle": post.brand_organic_toggle,
        "is_aigc": post.is_aigc,
        "cover_timestamp_ms": post.cover_timestamp_ms,
        "photo_title": post.photo_title,
        "photo_cover_index": post.photo_cover_index,
        "auto_add_music": post.auto_add_music,
        "scheduled_time": moment(post.scheduled_time),
        "timezone": post.timezone,
        "publish_before": moment(post.publish_before),
        "next_attempt_at": None if post.held else moment(post.next_attempt_at),
        "published_at": moment(post.published_at),
        "publish_id": post.publish_id,
        "tiktok_video_id": post.tiktok_video_id,
        "video_url": post.video_url,
        "error_code": post.error_code,
        "error_message": post.error_message,
        "error_hint": post.error_hint,
        "warnings": [*post.warnings, warning_json(hold_of(post.held_reason).warning())] if post.held else post.warnings,
        "retry_count": post.retry_count,
        "version": post.version,
        "created_at": moment(post.created_at),
        "updated_at": moment(post.updated_at),
    }


def media_json(media: Media) -> dict[str, Any]:
    """Return the public JSON object of a media file."""
    return {
        "id": str(media.id),
        "status": media.status,
        "filename": media.filename,
        "content_type": media.content_type,
        "size_bytes": media.size_bytes,
        "sha256": media.sha256,
        "duration_ms": media.duration_ms,
        "width": media.width,
        "height": media.height,
        "fps": media.fps,
        "video_codec": media.video_codec,
        "problems": media.problems,
        "created_at": moment(media.created_at),
    }


def etag(post: Post) -> str:
    """Return the entity tag of a post: its version in quotes."""
    return f'"{post.version}"'


def warning_json(finding: Finding) -> dict[str, Any]:
    """Return a warning as it is shown on a post."""
    return finding.as_warning()


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return a broken rule as validation and batches tell it."""
    shown: dict[str, Any] = {
        "field": finding.field,
        "code": finding.code,
        "message": finding.message,
        "hint": finding.hint,
    }
    return shown | ({"alternatives": list(finding.alternatives)} if finding.alternatives else {})
