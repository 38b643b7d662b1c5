"""Events out of the audit trail."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.event import Event
from analytics.storage.moments import readable
from analytics.storage.tables import LATE, checkpoints, records

_FIELDS = tuple(field.name for field in fields(Event))
LONGEST_WAY = timedelta(hours=24)
"""No event is looked for that was recorded longer than this after its own time; `has_later` tells that there is one."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the chain: records written at or after `since`, with `above` < seq <= `upto`.

    Writers take turns, so what is recorded later has a greater seq: stretches that join up miss nothing.
    """

    since: datetime
    above: int
    upto: int


async def of_object(connection: AsyncConnection, object_id: str, *, limit: int) -> list[Event]:
    """Return the newest `limit` events about an object (what the publisher does to a post is about the post)."""
    query = (
        select(*(records.c[name] for name in _FIELDS))
        .where(records.c.object_id == object_id, records.c.again.is_(False), readable(records.c.time))
        .order_by(records.c.time.desc())
        .limit(limit)
    )
    return [Event(**row) for row in (await connection.execute(query)).mappings()]


async def newest_seq(connection: AsyncConnection) -> int:
    """Return the seq of the last record, 0 when there is none."""
    newest = select(records.c.seq).order_by(records.c.recorded_at.desc(), records.c.seq.desc()).limit(1)
    return int(await connection.scalar(newest) or 0)


async def now_and_recorded_at(
    connection: AsyncConnection, user_id: UUID, event_id: UUID | None
) -> tuple[datetime, datetime | None]:
    """Return the database's time, and when it recorded this event of the user; None when it did not."""
    recorded = select(func.min(records.c.recorded_at)).where(records.c.id == event_id, records.c.user_id == user_id)
    now, recorded_at = (await connection.execute(select(func.clock_timestamp(), recorded.scalar_subquery()))).one()
    return now, recorded_at


async def has_later(connection: AsyncConnection, user_id: UUID, stretch: Stretch) -> bool:
    """Tell whether a stretch has events of a user that `of_user` does not look for."""
    later = select(records.c.seq).where(
        text(LATE),
        records.c.user_id == user_id,
        records.c.time < stretch.since - LONGEST_WAY,
        records.c.again.is_(False),
        records.c.recorded_at >= stretch.since,
        records.c.seq > stretch.above,
        records.c.seq <= stretch.upto,
    )
    return bool(await connection.scalar(select(later.exists())))


async def dropped_since(connection: AsyncConnection, moment: datetime) -> bool:
    """Tell whether records written at this moment or later were dropped with their month."""
    dropped = select(checkpoints.c.month).where(checkpoints.c.last_recorded_at >= moment)
    return bool(await connection.scalar(select(dropped.exists())))


async def of_user(
    connection: AsyncConnection, user_id: UUID, stretch: Stretch, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Event]:
    """Return up to `limit` of a user's events in a stretch, by their own time, oldest first, behind `after` (time and id)."""
    query = select(*(records.c[name] for name in _FIELDS)).where(
        records.c.user_id == user_id,
        records.c.time >= stretch.since - LONGEST_WAY,
        readable(records.c.time),
        records.c.recorded_at >= stretch.since,
        records.c.seq > stretch.above,
        records.c.seq <= stretch.upto,
    )
    if after is not None:
        query = query.where(tuple_(records.c.time, records.c.id) > tuple_(*map(literal, after)))
    query = query.order_by(records.c.time, records.c.id).limit(limit)
    return [Event(**row) for row in (await connection.execute(query)).mappings()]
