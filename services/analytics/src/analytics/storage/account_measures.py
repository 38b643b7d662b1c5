"""Measures of accounts: the first of each hour as a snapshot, the last of each day as that day's."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from analytics.domain.measures import AccountMeasure, first_of_hours, last_of_days
from analytics.domain.month import Month
from analytics.storage.statistics_months import ensure_months
from common.database.database import Driver

_COUNTS = ", ".join(AccountMeasure.COUNTS)
_EXCLUDED = ", ".join(f"{name} = excluded.{name}" for name in ("collected_at", *AccountMeasure.COUNTS))
_ARRAYS = "$3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]"

_SNAPSHOTS = f"""
INSERT INTO account_snapshots (account_id, hour, collected_at, {_COUNTS})
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], {_ARRAYS})
ON CONFLICT DO NOTHING RETURNING account_id
"""  # noqa: S608 - of constants
_EARLIER = f"""
UPDATE account_snapshots mine SET {_EXCLUDED}
FROM unnest($1::uuid[], $2::timestamptz[], {_ARRAYS}) AS excluded (account_id, hour, collected_at, {_COUNTS})
WHERE mine.account_id = excluded.account_id AND mine.hour = excluded.hour AND excluded.collected_at < mine.collected_at
"""  # noqa: S608 - of constants
_DAYS = f"""
INSERT INTO account_days AS mine (account_id, day, collected_at, {_COUNTS})
SELECT * FROM unnest($1::uuid[], $2::date[], {_ARRAYS})
ON CONFLICT (account_id, day) DO UPDATE SET {_EXCLUDED} WHERE excluded.collected_at > mine.collected_at
"""  # noqa: S608 - of constants


async def store_measures(driver: Driver, measures: Collection[AccountMeasure]) -> set[UUID]:
    """Store measures, whatever order they come in and however often; returns the accounts of which an hour had no snapshot."""
    if not measures:
        return set()
    hours, days = first_of_hours(measures), last_of_days(measures)
    await ensure_months(driver, "account_snapshots", {Month.of(measure.hour) for measure in hours})
    snapshots = _columns(hours, [measure.hour for measure in hours])
    new = await driver.fetch(_SNAPSHOTS, *snapshots)
    if len(new) < len(hours):
        await driver.execute(_EARLIER, *snapshots)
    await driver.execute(_DAYS, *_columns(days, [measure.day for measure in days]))
    return {row["account_id"] for row in new}


def _columns(measures: Sequence[AccountMeasure], periods: Sequence[Any]) -> list[Sequence[Any]]:
    return [
        [measure.account_id for measure in measures],
        periods,
        [measure.collected_at for measure in measures],
        *([getattr(measure, name) for measure in measures] for name in AccountMeasure.COUNTS),
    ]
