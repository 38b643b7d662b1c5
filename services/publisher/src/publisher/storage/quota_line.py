"""Jobs that wait for one of TikTok's limits: woken when their turn may come earlier than forecast.

The version of an account's line grows whenever one leaves it. A job that is put to wait meanwhile is either found by `call_next` or
`move_up`, or finds the newer version in `catch_up`. All lock jobs first, then the line.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, and_, case, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from publisher.domain.tiktok_limits import INIT, STATUS, TURN
from publisher.storage.tables import publish_jobs, tiktok_quotas

MANY = 20

_jobs = publish_jobs
_line = tiktok_quotas
_clock = func.clock_timestamp()


async def version(connection: AsyncConnection, account_id: UUID) -> int:
    """Return the version of the account's line."""
    return int(await connection.scalar(select(_line.c.moves).where(*_is_line(account_id))) or 0)


async def catch_up(connection: AsyncConnection, account_id: UUID, job_id: UUID, *, since: int) -> bool:
    """Make a job that was just put to wait due now when the line has moved since that version; returns whether it had."""
    await connection.execute(insert(_line).values(owner=str(account_id), name=INIT.name).on_conflict_do_nothing())
    held = select(_line.c.moves).where(*_is_line(account_id)).with_for_update(read=True)
    moved = int(await connection.scalar(held) or 0) != since
    if moved:
        await connection.execute(update(_jobs).where(_jobs.c.id == job_id).values(run_at=_clock, awaits_quota=_CALLED))
    return moved


async def call_next(connection: AsyncConnection, account_id: UUID, *, after: float) -> int:
    """Make the account's next post that waits for its turn due in `after` seconds, unless it is earlier anyway."""
    await _move(connection, account_id)
    is_next = and_(_jobs.c.awaits_quota.in_([INIT.name, TURN]), _jobs.c.run_at > _clock + timedelta(seconds=after))
    return await _wake(connection, account_id, is_next, after=after, limit=1)


async def move_up(connection: AsyncConnection, account_id: UUID) -> int:
    """Let the account's next posts look again, because one ahead of them is gone; returns how many."""
    await _move(connection, account_id)
    waits = and_(_jobs.c.awaits_quota.is_not(None), _jobs.c.awaits_quota != STATUS.name, _jobs.c.run_at > _clock)
    return await _wake(connection, account_id, waits, after=0.0, limit=MANY)


_CALLED = case((_jobs.c.awaits_quota == TURN, INIT.name), else_=_jobs.c.awaits_quota)
"""One that is called has not waited for its turn in vain: it passes nobody."""


async def _move(connection: AsyncConnection, account_id: UUID) -> None:
    moved = insert(_line).values(owner=str(account_id), name=INIT.name, moves=1)
    more = {"moves": _line.c.moves + 1}
    await connection.execute(moved.on_conflict_do_update(index_elements=["owner", "name"], set_=more))


async def _wake(connection: AsyncConnection, account_id: UUID, whom: ColumnElement[bool], *, after: float, limit: int) -> int:
    """Whatever is locked is in hand, and looks by itself."""
    waiting = (
        select(_jobs.c.id, _jobs.c.due_at, _jobs.c.post_id)
        .where(_jobs.c.account_id == account_id, _jobs.c.awaits_quota.is_not(None), _jobs.c.lease_owner.is_(None), whom)
        .order_by(_jobs.c.due_at, _jobs.c.post_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("waiting")
    )
    place = cast(func.row_number().over(order_by=(waiting.c.due_at, waiting.c.post_id)), BigInteger)
    ordered = select(waiting.c.id, place.label("place")).cte("ordered")
    moment = func.statement_timestamp() + timedelta(seconds=after) + ordered.c.place * text("interval '1 microsecond'")
    called = update(_jobs).where(_jobs.c.id == ordered.c.id).values(run_at=moment, awaits_quota=_CALLED)
    return (await connection.execute(called)).rowcount


def _is_line(account_id: UUID) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return _line.c.owner == str(account_id), _line.c.name == INIT.name
