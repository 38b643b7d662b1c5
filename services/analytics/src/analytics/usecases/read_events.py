"""Reads a user's events again, for a live stream that was away."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from analytics.domain.event import Event
from analytics.storage import events as storage
from common.database import Connection

AROUND = timedelta(seconds=10)
"""What was shown after an event may have been recorded so long before it: several replicas record, and a stream does not wait."""
AHEAD = timedelta(minutes=1)
"""An id tells a time that may be so far ahead."""
FURTHEST = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events by their own time, oldest first; `upto` is where the stretch of the trail that was read ends.

    `left_out`, told with the first page, says that the stretch has events of more than 24 hours before, which are in no page.
    """

    events: Sequence[Event]
    upto: int
    has_more: bool
    left_out: bool


async def where_to_begin(
    connection: Connection, user_id: UUID, since: datetime, *, asked_at: datetime | None, behind: UUID | None
) -> datetime:
    """Return the moment, by the database's clock as records have it, since which events are to be read.

    `since` is by the clock that shows `asked_at`; where that one is ahead, the moment is as much earlier. Where it is the time of
    an event that was seen, by the clock of whoever made it, that event's id is `behind`: it counts when it was recorded, if that
    was earlier, and while it is not, `since` may be `AHEAD` too late.
    """
    if asked_at is None and behind is None:
        return since
    now, recorded_at = await storage.now_and_recorded_at(connection, user_id, behind)
    ahead = timedelta() if asked_at is None else min(max(asked_at - now, timedelta()), FURTHEST)
    begin = since - ahead
    if behind is None:
        return begin
    return begin - AHEAD if recorded_at is None else min(begin, recorded_at - AROUND)


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
    stretch = storage.Stretch(since, above, end)
    found = await storage.of_user(connection, user_id, stretch, after=after, limit=limit + 1)
    left_out = after is None and await storage.has_later(connection, user_id, stretch)
    return EventPage(found[:limit], end, len(found) > limit, left_out)
