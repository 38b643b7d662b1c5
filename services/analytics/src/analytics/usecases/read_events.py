"""Reads a user's events again, for a live stream that was away."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from analytics.domain.event import Event
from analytics.storage import events as storage
from common.database import Connection


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events by their own time, oldest first; `upto` is where the stretch of the trail that was read ends."""

    events: Sequence[Event]
    upto: int
    has_more: bool


async def read_events(
    connection: Connection,
    user_id: UUID,
    *,
    since: datetime,
    above: int,
    upto: int | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> EventPage:
    """Return a page of what was recorded at or after `since`, behind the record `above`, up to `upto` (None: up to now)."""
    end = await storage.newest_seq(connection) if upto is None else upto
    found = await storage.of_user(connection, user_id, storage.Stretch(since, above, end), after=after, limit=limit + 1)
    return EventPage(found[:limit], end, len(found) > limit)
