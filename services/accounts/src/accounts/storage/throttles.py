"""Counts of failed logins per address of a person and of a client, stored as hashes."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.throttle import FORGET_AFTER, ThrottleRule
from accounts.storage.tables import login_throttles as throttles


async def take_attempt(connection: AsyncConnection, subject_hash: bytes, rule: ThrottleRule) -> timedelta | None:
    """Count an attempt as failed ahead of its outcome; returns how long to wait instead when it may not be made now.

    Counting first, under the row's lock, is what keeps a hundred guesses at once from all passing the check.
    """
    new = insert(throttles).values(subject_hash=subject_hash, failures=0, blocked_until=func.now(), last_failed_at=func.now())
    await connection.execute(new.on_conflict_do_nothing())
    statement = (
        select(
            throttles.c.failures, throttles.c.blocked_until, throttles.c.last_failed_at, func.clock_timestamp().label("now")
        )
        .where(throttles.c.subject_hash == subject_hash)
        .with_for_update()
    )
    row = (await connection.execute(statement)).one()
    if row.blocked_until > row.now:
        return timedelta(seconds=(row.blocked_until - row.now).total_seconds())
    await _store(connection, subject_hash, failures=_failures(row) + 1, rule=rule, now=row.now)
    return None


async def clear_failures(connection: AsyncConnection, subject_hash: bytes) -> None:
    """Forget the failures after a success."""
    await connection.execute(delete(throttles).where(throttles.c.subject_hash == subject_hash))


async def give_back_attempt(connection: AsyncConnection, subject_hash: bytes) -> None:
    """Take back one counted attempt that succeeded, and keep the failures of others from the same place."""
    statement = (
        update(throttles)
        .where(throttles.c.subject_hash == subject_hash)
        .values(failures=func.greatest(throttles.c.failures - 1, 0), blocked_until=func.now())
    )
    await connection.execute(statement)


def _failures(row: Row[*tuple[Any, ...]]) -> int:
    return 0 if row.last_failed_at < row.now - FORGET_AFTER else int(row.failures)


async def _store(
    connection: AsyncConnection, subject_hash: bytes, *, failures: int, rule: ThrottleRule, now: datetime
) -> None:
    statement = (
        update(throttles)
        .where(throttles.c.subject_hash == subject_hash)
        .values(failures=failures, blocked_until=now + rule.wait_after(failures), last_failed_at=now)
    )
    await connection.execute(statement)
