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
SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = CAST($1::text AS regclass)
"""


async def partitions(driver: Driver, table: StatisticsTable) -> tuple[list[Month], list[str]]:
    """Return the months that have a partition, oldest first, and the names of partitions that are none of a month."""
    names = [row["relname"] for row in await driver.fetch(_EXISTING, table)]
    found = {name: Month.of_partition(name, f"{table}_") for name in names}
    return sorted(filter(None, found.values())), sorted(name for name, month in found.items() if month is None)


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
