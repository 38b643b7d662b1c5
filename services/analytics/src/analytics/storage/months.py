"""Partitions of the event table: one per month, made ahead and dropped as a whole.

Names of partitions are made from numbers alone, so they are safe inside DDL.
"""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.month import Month

LOCK_KEY = 0x616E_6D6F
"""Advisory lock of whoever changes partitions: replicas take turns."""


async def lock(connection: AsyncConnection) -> None:
    """Wait until no other transaction changes partitions; held until this one ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})


async def existing(connection: AsyncConnection) -> list[Month]:
    """Return the months that have a partition, oldest first."""
    names = await connection.scalars(
        text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass")
    )
    return sorted(month for name in names if (month := Month.of_partition(name)) is not None)


async def add(connection: AsyncConnection, month: Month) -> None:
    """Add a month's partition, moving into it what had been stored in `events_default` meanwhile; inserts there wait."""
    bounds = {"first": str(month.first_id), "next": str(month.plus(1).first_id)}
    await connection.execute(text("LOCK TABLE events_default IN ACCESS EXCLUSIVE MODE"))
    await connection.execute(text(f"CREATE TABLE {month.partition} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    await connection.execute(
        text(
            "WITH moved AS (DELETE FROM events_default"  # noqa: S608 - the name is made of numbers
            " WHERE id >= CAST(:first AS uuid) AND id < CAST(:next AS uuid) RETURNING *)"
            f" INSERT INTO {month.partition} SELECT * FROM moved"
        ),
        bounds,
    )
    await connection.execute(
        text(
            f"ALTER TABLE events ATTACH PARTITION {month.partition}"
            f" FOR VALUES FROM ('{bounds['first']}') TO ('{bounds['next']}')"
        )
    )


async def drop(connection: AsyncConnection, month: Month) -> None:
    """Drop a month with all its events."""
    await connection.execute(text(f"DROP TABLE {month.partition}"))


async def delete_older(connection: AsyncConnection, before: datetime, *, limit: int) -> int:
    """Delete up to `limit` events older than `before` that lie in no month; returns how many."""
    statement = text(
        "DELETE FROM events_default WHERE id IN (SELECT id FROM events_default WHERE time < :before LIMIT :limit)"
    )
    return (await connection.execute(statement, {"before": before, "limit": limit})).rowcount
