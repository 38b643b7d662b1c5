"""Partitions of snapshots and metrics: one per month, made ahead and dropped as a whole.

The owner's functions do it (migration 0005): the service's role owns none of it.
"""

from collections.abc import Collection
from typing import Literal

from analytics.domain.month import Month
from common.database.database import Driver

StatisticsTable = Literal["account_snapshots", "post_metrics"]
TABLES: tuple[StatisticsTable, ...] = ("account_snapshots", "post_metrics")

_EXISTING = """
SELECT right(relname, 7) AS month FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = CAST($1::text AS regclass)
"""


async def existing_months(driver: Driver, table: StatisticsTable) -> list[Month]:
    """Return the months that have a partition, oldest first."""
    rows = await driver.fetch(_EXISTING, table)
    return sorted(Month(int(row["month"][:4]), int(row["month"][5:])) for row in rows)


async def ensure_months(driver: Driver, table: StatisticsTable, months: Collection[Month]) -> None:
    """Add those that are missing: rows of theirs are about to be written."""
    await driver.execute(
        "SELECT add_statistics_month($1, day) FROM unnest($2::date[]) day"
        " WHERE to_regclass('public.' || $1 || to_char(day, '_YYYY_MM')) IS NULL",
        table,
        [month.first_day for month in sorted(months)],
    )


async def drop_month(driver: Driver, table: StatisticsTable, month: Month) -> None:
    """Drop a past month with all its rows, if it is there."""
    await driver.execute("SELECT drop_statistics_month($1, $2)", table, month.first_day)
