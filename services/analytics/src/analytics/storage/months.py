"""Partitions of the audit trail: one per month, made ahead and dropped as a whole.

The service's role owns none of it. Functions of the owner do what it may ask for (migrations 0002, 0007): add a month, drop the
oldest one that is over long enough, leaving a signed checkpoint, and make "long enough" longer. The owner makes it shorter.
"""

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.checkpoint import Checkpoint, SignedCheckpoint
from analytics.domain.month import Month
from analytics.storage.tables import retention

LOCK_KEY = 0x616E_6D6F
"""Advisory lock of whoever changes months (the functions take it too); whoever reads the whole chain shares it."""


async def lock(connection: AsyncConnection) -> None:
    """Wait until no other transaction changes months; held until this one ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})


async def partitions(connection: AsyncConnection) -> tuple[list[Month], list[str]]:
    """Return the months that have a partition, oldest first, and the names of partitions that are none of a month."""
    names = await connection.scalars(
        text(
            "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = CAST('audit.records' AS regclass)"
        )
    )
    found = {name: Month.of_partition(name) for name in names}
    return sorted(filter(None, found.values())), sorted(name for name, month in found.items() if month is None)


async def add(connection: AsyncConnection, month: Month) -> None:
    """Add a month, unless it exists."""
    await connection.execute(text("SELECT audit.add_month(:day)"), {"day": month.first_day})


async def keep_at_least(connection: AsyncConnection, days: int) -> int:
    """Have months kept so many days after their end from now on; returns how many they are, which never becomes fewer this way."""
    kept = await connection.scalar(text("SELECT audit.keep_at_least(:days)"), {"days": days})
    return int(kept)


async def kept_days(connection: AsyncConnection) -> int | None:
    """Return how many days after their end months are kept at least; None while the database was told of no retention."""
    days = await connection.scalar(select(retention.c.days))
    return None if days is None else int(days)


async def keep(connection: AsyncConnection, days: int) -> None:
    """Have months kept so many days after their end from now on, fewer than before, too; the owner's role alone may."""
    statement = insert(retention).values(days=days)
    await connection.execute(statement.on_conflict_do_update(index_elements=["only_row"], set_={"days": days}))


async def drop(connection: AsyncConnection, month: Month, signed: SignedCheckpoint | None) -> None:
    """Drop the oldest month with all its records, leaving the checkpoint.

    The function refuses any other month, one that is to be kept still (`keep_at_least`), and a checkpoint that does not fit.
    """
    statement = text(
        "SELECT audit.drop_month(:month, :first_seq, :last_seq, :last_hash, :last_recorded_at, :signed_at, :key, :signature)"
    )
    values: dict[str, object] = dict.fromkeys(
        ("first_seq", "last_seq", "last_hash", "last_recorded_at", "signed_at", "key", "signature")
    )
    if signed is not None:
        checkpoint = signed.checkpoint
        values = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__ if name != "month"}
        values |= {"key": signed.key, "signature": signed.signature}
    await connection.execute(statement, {"month": month.first_day, **values})
