"""Changes how long the audit trail is kept, as its owner: the only way to shorten it."""

from analytics.storage import months, records
from analytics.usecases.record_operator import record_operator
from common.database import Transaction

SUBJECT = "audit.retention"
ACTION = "audit_retention_changed"


async def change_retention(tx: Transaction, days: int, *, operator: str) -> int | None:
    """Have months kept for `days` after their end, and record who said so; returns what it was before, None for nothing.

    It needs the owner's role. The record is part of the trail in the same transaction, so no change is without one. Months past it
    are dropped when the service looks next, unless it was told of a longer retention: then that counts again.
    """
    # In the order in which writers and whoever changes months take them.
    await records.lock(tx.connection)
    await months.lock(tx.connection)
    before = await months.kept_days(tx.connection)
    if before == days:
        return before
    await months.keep(tx.connection, days)
    await record_operator(tx, ACTION, SUBJECT, {"days": days, "before": before}, operator=operator)
    return before
