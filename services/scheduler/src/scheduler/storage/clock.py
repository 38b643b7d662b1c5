"""The database's clock: the one that all replicas share, by which posts become due."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection


async def database_now(connection: AsyncConnection) -> datetime:
    """Return the time now (aware UTC), not the beginning of the transaction."""
    now: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return now
