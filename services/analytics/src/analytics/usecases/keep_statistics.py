"""Keeps the months of the statistics and removes what has outlived its use."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics.domain.month import Month
from analytics.storage.outlived import remove_accounts, remove_days, remove_posts
from analytics.storage.statistics_months import StatisticsTable, drop_month, ensure_months, partitions
from common.database import Transaction

AHEAD = 3
BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Kept:
    """How long everything is kept, at least: of snapshots and metrics whole months are dropped."""

    snapshots: timedelta
    metrics: timedelta
    days: timedelta
    posts: timedelta

    def of(self, table: StatisticsTable) -> timedelta:
        """Return how long the rows of a table in months are kept."""
        return self.snapshots if table == "account_snapshots" else self.metrics


async def keep_statistics_months(
    tx: Transaction, table: StatisticsTable, kept: Kept, *, now: datetime
) -> tuple[list[Month], list[str]]:
    """Add what is missing up to three months ahead, drop each month that ended before it is kept to.

    Returns those, and the partitions that are named after no month: whoever made them may drop them.
    """
    this = Month.of(now)
    existing, strange = await partitions(tx.driver, table)
    dropped = [old for old in existing if old < Month.of(now - kept.of(table))]
    for old in dropped:
        await drop_month(tx.driver, table, old)
    await ensure_months(tx.driver, table, [this.plus(number) for number in range(AHEAD + 1)])
    return dropped, strange


async def remove_outlived(tx: Transaction, kept: Kept, *, now: datetime, limit: int = BATCH) -> tuple[int, bool]:
    """Remove up to `limit` of each kind of row; returns how many, and whether there may be more."""
    removed = [
        await remove_days(tx.driver, before=(now - kept.days).date(), limit=limit),
        await remove_posts(tx.driver, before=now - kept.posts, limit=limit),
        await remove_accounts(tx.driver, before=now - kept.days, limit=limit),
    ]
    return sum(removed), max(removed) == limit
