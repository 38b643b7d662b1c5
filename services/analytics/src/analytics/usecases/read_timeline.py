"""Reads a post's timeline."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from analytics.domain.timeline import TimelineItem, timeline
from analytics.storage import events as storage
from common.database import Connection

MAX_ITEMS = 1_000


@dataclass(frozen=True, slots=True)
class PostTimeline:
    """What happened to a post, oldest first; `is_truncated` when there is, or may have been, more than that."""

    items: list[TimelineItem]
    is_truncated: bool


async def read_timeline(
    connection: Connection, *, post_id: UUID, user_id: UUID, created_at: datetime | None = None
) -> PostTimeline:
    """Return the newest 1,000 things that happened to a post of this user, less where the trail begins after `created_at`.

    An event that names no user belongs to the post's owner; a post of which no event names this user gives nothing.
    """
    found = await storage.of_object(connection, str(post_id), limit=MAX_ITEMS + 1)
    is_truncated = len(found) > MAX_ITEMS
    if not is_truncated and created_at is not None:
        is_truncated = await storage.dropped_since(connection, created_at)
    if all(event.user_id != user_id for event in found):
        return PostTimeline([], is_truncated)
    return PostTimeline(timeline(event for event in found[:MAX_ITEMS] if event.user_id in {user_id, None}), is_truncated)
