"""Keeps the audit trail's months: the coming ones exist in time, those past the retention are gone."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from analytics.domain.checkpoint import sign
from analytics.domain.month import Month
from analytics.storage import months
from common.database import Transaction

AHEAD = 3


@dataclass(frozen=True, slots=True)
class MonthsKept:
    """What was done: months added, and months dropped, each with a signed checkpoint of its records.

    `days` is how long the database keeps months at least, which is what was asked for or longer.
    """

    added: tuple[Month, ...]
    dropped: tuple[Month, ...]
    days: int


async def keep_months(tx: Transaction, key: Ed25519PrivateKey, *, now: datetime, retention: timedelta) -> MonthsKept:
    """Add what is missing up to three months ahead, drop each month that ended before `now - retention`.

    Once the database was told of a retention, it keeps months as long, whatever shorter one comes later, until its owner
    says otherwise (`change_retention`).
    """
    await months.lock(tx.connection)
    days = await months.keep_at_least(tx.connection, retention.days)
    existing = await months.existing(tx.connection)
    this = Month.of(now)
    wanted = [this.plus(number) for number in range(AHEAD + 1)]
    added = [month for month in wanted if month not in existing]
    # Dropping first: it locks the whole table, and whoever reads locks the whole before its parts.
    dropped = [old for old in existing if old < Month.of(now - timedelta(days=days))]
    for old in dropped:
        checkpoint = await months.checkpoint_of(tx.connection, old, signed_at=now)
        await months.drop(tx.connection, old, None if checkpoint is None else sign(checkpoint, key))
    for month in added:
        await months.add(tx.connection, month)
    return MonthsKept(tuple(added), tuple(dropped), days)
