"""What was measured of accounts, read: the hourly snapshots, and the last of each day of UTC, which is kept longer."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Interval, Row, Uuid, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.domain.account_measures import AccountCounts, AccountMeasure
from analytics.domain.period import Period
from analytics.storage.statements import statement
from analytics.storage.statistics_tables import stats_accounts

_MOMENT = DateTime(timezone=True)
_COUNTS = "follower_count, following_count, likes_count, video_count"

_LAST_UNTIL = f"""
    (SELECT collected_at, {_COUNTS} FROM account_snapshots
     WHERE account_id = :account_id AND hour <= %(moment)s AND collected_at <= %(moment)s ORDER BY hour DESC LIMIT 1)
    UNION ALL
    (SELECT collected_at, {_COUNTS} FROM account_days
     WHERE account_id = :account_id AND day <= CAST(%(moment)s AT TIME ZONE 'UTC' AS date) AND collected_at <= %(moment)s
     ORDER BY day DESC LIMIT 1)
    ORDER BY collected_at DESC LIMIT 1
"""  # noqa: S608 - of constants

_LATEST = statement(
    f"""
    WITH newest AS ({_LAST_UNTIL % {"moment": "CAST('infinity' AS timestamptz)"}})
    SELECT before.number, latest.*
    FROM newest, unnest(:befores) WITH ORDINALITY AS before (distance, number),
         LATERAL ({_LAST_UNTIL % {"moment": "(newest.collected_at - before.distance)"}}) AS latest
    """,  # noqa: S608 - of constants
    account_id=Uuid(),
    befores=ARRAY(Interval()),
)

# A snapshot's hour is the hour of UTC it was taken in, so it begins at most an hour before.
_HOURLY = f"""
    SELECT collected_at, {_COUNTS} FROM account_snapshots
    WHERE account_id = :account_id AND hour > :hourly_since - interval '1 hour' AND hour < :until
      AND collected_at >= :hourly_since AND collected_at < :until
"""  # noqa: S608 - of constants
_DAILY = f"""
    SELECT collected_at, {_COUNTS} FROM account_days
    WHERE account_id = :account_id AND day >= CAST(:since AT TIME ZONE 'UTC' AS date)
      AND day <= CAST(:until AT TIME ZONE 'UTC' AS date) AND collected_at >= :since AND collected_at < :until
"""  # noqa: S608 - of constants
_POINTS = """
    SELECT DISTINCT ON (number) number, %(counts)s
    FROM (SELECT width_bucket(collected_at, :starts) AS number, * FROM (%(measures)s) AS measures) AS numbered
    ORDER BY number, collected_at DESC
"""
_HOUR_POINTS = statement(
    _POINTS % {"counts": _COUNTS, "measures": _HOURLY},
    account_id=Uuid(),
    hourly_since=_MOMENT,
    until=_MOMENT,
    starts=ARRAY(_MOMENT),
)
_DAY_POINTS = statement(
    _POINTS % {"counts": _COUNTS, "measures": f"{_HOURLY} UNION ALL {_DAILY}"},
    account_id=Uuid(),
    hourly_since=_MOMENT,
    since=_MOMENT,
    until=_MOMENT,
    starts=ARRAY(_MOMENT),
)


async def is_known(connection: AsyncConnection, account_id: UUID, *, user_id: UUID) -> bool:
    """Tell whether the user has this account; one that was disconnected is nobody's."""
    own = stats_accounts.c
    condition = (own.account_id == account_id) & (own.user_id == user_id) & (own.status != "disconnected")
    return bool(await connection.scalar(select(exists().where(condition))))


async def latest(connection: AsyncConnection, account_id: UUID, distances: Sequence[timedelta]) -> list[AccountMeasure | None]:
    """Return the newest measure, and for each distance the last that was taken at least so long before it."""
    rows = await connection.execute(_LATEST, {"account_id": account_id, "befores": [timedelta(0), *distances]})
    found = {row.number: AccountMeasure(row.collected_at, _counts(row)) for row in rows}
    return [found.get(number + 1) for number in range(len(distances) + 1)]


async def last_of_hours(
    connection: AsyncConnection, account_id: UUID, asked: Period, starts: Sequence[datetime]
) -> list[tuple[datetime, AccountCounts]]:
    """Return the last measure within the period of each stretch between `starts`, with its start; only where there is one."""
    values = {"account_id": account_id, "hourly_since": asked.since, "until": asked.until, "starts": list(starts)}
    return [(starts[row.number - 1], _counts(row)) for row in await connection.execute(_HOUR_POINTS, values)]


async def last_of_days(
    connection: AsyncConnection, account_id: UUID, asked: Period, starts: Sequence[datetime], *, hourly_since: datetime
) -> list[tuple[datetime, AccountCounts]]:
    """Return the same of days: what is kept of each day of UTC counts, and of the snapshots those since `hourly_since`."""
    values = {
        "account_id": account_id,
        "hourly_since": hourly_since,
        "since": asked.since,
        "until": asked.until,
        "starts": list(starts),
    }
    return [(starts[row.number - 1], _counts(row)) for row in await connection.execute(_DAY_POINTS, values)]


def _counts(row: Row[Any]) -> AccountCounts:
    return AccountCounts(row.follower_count, row.following_count, row.likes_count, row.video_count)
