"""How many due posts wait in the outbox."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from common.contracts.scheduler import PostDue
from scheduler.storage.tables import outbox


async def due_events_in_outbox(connection: AsyncConnection, *, cap: int) -> int:
    """Return the number of `PostDue` that the relay has not published yet, at most `cap`."""
    waiting = select(outbox.c.id).where(outbox.c.routing_key == PostDue.KEY).limit(cap).subquery()
    return int(await connection.scalar(select(func.count()).select_from(waiting)) or 0)
