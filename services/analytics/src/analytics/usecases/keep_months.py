"""Keeps the event table's months: the coming ones exist in time, those past the retention are gone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics.domain.month import Month
from analytics.storage import months
from common.database import Transaction

AHEAD = 3
DELETE_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class MonthsKept:
    """What was done: months added and dropped, events deleted that lay in no month, and whether more of those are left."""

    added: tuple[Month, ...]
    dropped: tuple[Month, ...]
    deleted: int
    more: bool


async def keep_months(tx: Transaction, *, now: datetime, retention: timedelta) -> MonthsKept:
    """Add what is missing up to three months ahead, drop each month that ended before `now - retention`.

    Months between the newest existing one and today are added too: after a long stop their events wait in the queue.
    """
    await months.lock(tx.connection)
    existing = await months.existing(tx.connection)
    this = Month.of(now)
    horizon = now - retention
    oldest_kept = Month.of(horizon)
    # Dropping first: it locks the whole table, and whoever reads locks the whole before its parts.
    dropped = [old for old in existing if old < oldest_kept]
    for old in dropped:
        await months.drop(tx.connection, old)
    month = max(existing[-1].plus(1) if existing else this.plus(-1), oldest_kept)
    added = []
    while month <= this.plus(AHEAD):
        await months.add(tx.connection, month)
        added.append(month)
        month = month.plus(1)
    deleted = await months.delete_older(tx.connection, horizon, limit=DELETE_BATCH)
    return MonthsKept(tuple(added), tuple(dropped), deleted, more=deleted == DELETE_BATCH)
