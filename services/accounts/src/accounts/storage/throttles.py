"""Counts of failed logins per address of a person and of a client, and of refusals that are told of now and then; stored by hashes.

For logins the column `last_failed_at` holds the moment up to which the fading of the failures is counted. For refusals `failures`
are those since the last one was told of, and until `blocked_until` none is.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.domain.throttle import Failures, ThrottleRule
from accounts.storage.tables import login_throttles as throttles


async def take_attempt(connection: AsyncConnection, subject_hash: bytes, rule: ThrottleRule) -> timedelta | None:
    """Count an attempt as failed ahead of its outcome; returns how long to wait instead when it may not be made now.

    Counting first, under the row's lock, is what keeps a hundred guesses at once from all passing the check. An attempt that
    is given back leaves the fading of the other failures as it was.
    """
    row = await _locked(connection, subject_hash)
    if row.blocked_until > row.now:
        return timedelta(seconds=(row.blocked_until - row.now).total_seconds())
    left = Failures(row.failures, row.last_failed_at).at(row.now)
    blocked_until = row.now + rule.wait_after(left.count + 1)
    counted = {"failures": left.count + 1, "blocked_until": blocked_until, "last_failed_at": left.faded_to}
    await connection.execute(update(throttles).where(throttles.c.subject_hash == subject_hash).values(counted))
    return None


async def count_refusal(connection: AsyncConnection, subject_hash: bytes, *, told_every: timedelta) -> int:
    """Count a refusal; returns how many there were since one was told of last, 0 when it is too early to tell of it."""
    row = await _locked(connection, subject_hash)
    is_told = row.blocked_until <= row.now
    failures, until = (0, row.now + told_every) if is_told else (row.failures + 1, row.blocked_until)
    counted = {"failures": failures, "blocked_until": until, "last_failed_at": row.now}
    await connection.execute(update(throttles).where(throttles.c.subject_hash == subject_hash).values(counted))
    return int(row.failures) + 1 if is_told else 0


async def clear_failures(connection: AsyncConnection, subject_hash: bytes) -> None:
    """Forget the failures after a success."""
    await connection.execute(delete(throttles).where(throttles.c.subject_hash == subject_hash))


async def give_back_attempt(connection: AsyncConnection, subject_hash: bytes, rule: ThrottleRule) -> None:
    """Take back one counted attempt that was no failure: the count and the wait are then those of the failures beside it."""
    mine = throttles.c.subject_hash == subject_hash
    statement = select(throttles.c.failures, throttles.c.blocked_until).where(mine).with_for_update()
    row = (await connection.execute(statement)).one_or_none()
    if row is None or row.failures == 0:
        return
    left = row.failures - 1
    blocked_until = row.blocked_until - rule.wait_after(row.failures) + rule.wait_after(left)
    await connection.execute(update(throttles).where(mine).values(failures=left, blocked_until=blocked_until))


async def _locked(connection: AsyncConnection, subject_hash: bytes) -> Row[Any]:
    """Return the subject's row, locked, and the time by then (`now`); a new one where there was none.

    In one statement, because a login that succeeds meanwhile removes the row.
    """
    new = insert(throttles).values(subject_hash=subject_hash, failures=0, blocked_until=func.now(), last_failed_at=func.now())
    unchanged = new.on_conflict_do_update(index_elements=[throttles.c.subject_hash], set_={"failures": throttles.c.failures})
    columns = (throttles.c.failures, throttles.c.blocked_until, throttles.c.last_failed_at)
    return (await connection.execute(unchanged.returning(*columns, func.clock_timestamp().label("now")))).one()
