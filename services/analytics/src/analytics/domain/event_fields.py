"""Fields of events of unknown shape, each read as what it should be, or None."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

MAX_COUNT = 2**63 - 1
MAX_ATTEMPT = 2**31 - 1
_YEARS = range(1970, 3000)
_COPIED = frozenset(
    (
        *("account_id", "attempt", "by_owner", "code", "lateness_ms", "published_at", "scheduled_time", "status"),
        "tiktok_video_id",
        *("follower_count", "following_count", "likes_count", "scopes", "synced_at", "video_count"),
    )
)


def uuid_of(value: Any) -> UUID | None:
    """Return an id that is written as text."""
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def moment_of(value: Any) -> datetime | None:
    """Return a time from 1970 to 2999 that is written as text with an offset, in UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None and moment.year in _YEARS else None


def count_of(value: Any, *, at_most: int = MAX_COUNT) -> int | None:
    """Return a whole number from 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= at_most else None


def copied_fields(data: dict[str, Any]) -> dict[str, Any]:
    """Return what copies are made of: captions and whatever else is long is left out, so that many events take little memory."""
    changes = data.get("changes")
    kept = {name: value for name, value in data.items() if name in _COPIED}
    if isinstance(changes, dict) and "tiktok_video_id" in changes:
        kept["changes"] = {"tiktok_video_id": changes["tiktok_video_id"]}
    return kept
