"""What changed in a post, field by field, as events tell it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from common.contracts.scheduler import PostFields
from scheduler.domain.post import Post
from scheduler.domain.source_url import without_query
from scheduler.encoding import moment

FOLLOWING = frozenset({"title", "media_sha256", "warnings", "held", "held_reason"})
"""Columns that follow from others: a request that changes nothing else changes nothing."""
_OWN = frozenset(
    (
        *("next_attempt_at", "version", "updated_at", "video_since", "forecast_at", "sweep_at", "cancel_at"),
        *("publisher_sequence", "checked_version", "check_after", "given_up_attempt", "cancel_asked"),
        *("video_id_by_owner", "requested_at"),
    )
)
"""Columns in which the scheduler remembers what it is to do."""
_UNTOLD = (FOLLOWING - {"warnings"}) | _OWN
"""What may stop a post at its time is told, whatever it follows from."""
_ADDRESSES = frozenset({"source_url", "photo_urls"})
_NAMES = {"account_id": "tiktok_account_id"}
_COLUMNS = {name: column for column, name in _NAMES.items()}
_GIVEN = (
    "status",
    *(_COLUMNS.get(name, name) for name in PostFields.model_fields if name not in {"draft", "allow_duplicate"}),
)


def changes_between(old: Post, new: Post) -> dict[str, Any]:
    """Return old and new value of each field that differs; of addresses only what precedes the `?`."""
    names = [name for name in Post.__dataclass_fields__ if name not in _UNTOLD]
    differing = [name for name in names if getattr(old, name) != getattr(new, name)]
    return {_NAMES.get(name, name): [_shown(name, getattr(post, name)) for post in (old, new)] for name in differing}


def first_values(post: Post) -> dict[str, Any]:
    """Return the changes that made a new post: null and its value for each field that has one."""
    values = {name: getattr(post, name) for name in _GIVEN}
    return {
        _NAMES.get(name, name): [None, _shown(name, value)]
        for name, value in values.items()
        if not (value is None or value is False or value in ("", []))
    }


def _shown(name: str, value: Any) -> Any:
    if name in _ADDRESSES:
        return [without_query(url) for url in value] if isinstance(value, list) else value and without_query(value)
    if isinstance(value, datetime):
        return moment(value)
    return str(value) if isinstance(value, UUID) else value
