"""Events out of the audit trail."""

from dataclasses import fields

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.event import Event
from analytics.storage.tables import records

_FIELDS = tuple(field.name for field in fields(Event))


async def of_object(connection: AsyncConnection, object_id: str, *, limit: int) -> list[Event]:
    """Return the newest `limit` events about an object (what the publisher does to a post is about the post)."""
    query = (
        select(*(records.c[name] for name in _FIELDS))
        .where(records.c.object_id == object_id, records.c.again.is_(False))
        .order_by(records.c.time.desc())
        .limit(limit)
    )
    return [Event(**row) for row in (await connection.execute(query)).mappings()]
