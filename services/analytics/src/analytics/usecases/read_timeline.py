"""Reads a post's timeline."""

from uuid import UUID

from analytics.domain.timeline import TimelineItem, timeline
from analytics.storage import events as storage
from common.database import Connection

MAX_ITEMS = 1_000


async def read_timeline(connection: Connection, *, post_id: UUID, user_id: UUID) -> list[TimelineItem]:
    """Return what happened to a post of this user, oldest first; the newest 1,000 things when there are more.

    An event that names no user belongs to the post's owner; a post of which no event names this user gives nothing.
    """
    found = await storage.of_object(connection, str(post_id), limit=MAX_ITEMS)
    if all(event.user_id != user_id for event in found):
        return []
    return timeline(event for event in found if event.user_id in {user_id, None})
