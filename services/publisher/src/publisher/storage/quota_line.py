"""Jobs that wait for one of TikTok's limits: woken when their turn may come earlier than forecast."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, and_, cast, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.tiktok_limits import STATUS
from publisher.storage.tables import publish_jobs

MANY = 20

_jobs = publish_jobs
_clock = func.clock_timestamp()


async def call_next(connection: AsyncConnection, account_id: UUID, *, after: float) -> int:
    """Make the account's next post that waits for its turn due in `after` seconds, unless it is earlier anyway."""
    return await _wake(connection, account_id, _jobs.c.run_at > _clock + timedelta(seconds=after), after=after, limit=1)


async def move_up(connection: AsyncConnection, account_id: UUID) -> int:
    """Let the account's next posts look again, because one ahead of them is gone; returns how many."""
    return await _wake(connection, account_id, _jobs.c.run_at > _clock, after=0.0, limit=MANY)


async def _wake(connection: AsyncConnection, account_id: UUID, later: ColumnElement[bool], *, after: float, limit: int) -> int:
    """Whatever is locked is in hand, and looks by itself."""
    waits = and_(_jobs.c.account_id == account_id, _jobs.c.awaits_quota.is_not(None), _jobs.c.awaits_quota != STATUS.name)
    waiting = (
        select(_jobs.c.id, _jobs.c.due_at, _jobs.c.post_id)
        .where(waits, _jobs.c.lease_owner.is_(None), later)
        .order_by(_jobs.c.due_at, _jobs.c.post_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("waiting")
    )
    place = cast(func.row_number().over(order_by=(waiting.c.due_at, waiting.c.post_id)), BigInteger)
    ordered = select(waiting.c.id, place.label("place")).cte("ordered")
    moment = _clock + timedelta(seconds=after) + ordered.c.place * text("interval '1 microsecond'")
    return (await connection.execute(update(_jobs).where(_jobs.c.id == ordered.c.id).values(run_at=moment))).rowcount
