"""How far calls to a TikTok endpoint are booked ahead: one row per endpoint, one atomic statement per call."""

from datetime import timedelta

from sqlalchemy import ColumnElement, func, literal_column
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.storage.tables import tiktok_call_pace

_table = tiktok_call_pace


async def book_call(connection: AsyncConnection, endpoint: str, *, interval: timedelta, limit: timedelta) -> timedelta | None:
    """Book one call, `interval` after the one before, and return how far ahead of now the bookings reach with it.

    None, and nothing booked, when they would reach further than `limit`. The clock is the database's.
    """
    clock = func.clock_timestamp()
    begin = func.greatest(_table.c.booked_until, clock)
    statement = insert(_table).values(endpoint=endpoint, booked_until=clock + interval)
    statement = statement.on_conflict_do_update(
        index_elements=[_table.c.endpoint],
        set_={"booked_until": begin + interval},
        where=begin + interval <= clock + limit,
    )
    ahead: ColumnElement[timedelta] = literal_column("tiktok_call_pace.booked_until - clock_timestamp()")
    found: timedelta | None = await connection.scalar(statement.returning(ahead))
    return found
