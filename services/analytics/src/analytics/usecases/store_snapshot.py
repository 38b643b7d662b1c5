"""Stores what TikTok told of an account, and tells of it."""

from datetime import datetime

from analytics.domain.look_times import next_snapshot
from analytics.domain.measures import AccountMeasure, AccountNumbers
from analytics.storage.account_measures import store_measures
from analytics.storage.due_snapshots import DueSnapshot, settle_snapshot
from common.contracts.analytics import AccountStatsCollected
from common.contracts.context import Context
from common.database import Transaction
from common.messaging.outbox import Outbox

SERVICE = "analytics"


async def store_snapshot(tx: Transaction, outbox: Outbox, due: DueSnapshot, numbers: AccountNumbers, *, now: datetime) -> bool:
    """Store the numbers for the hour of `now`, when they were read, and plan the next look.

    Returns whether the hour had none before: then the event is emitted, so there is one per hour whoever else was looking.
    """
    measure = AccountMeasure(due.account_id, now, *numbers)
    is_new = due.account_id in await store_measures(tx.driver, [measure])
    await settle_snapshot(tx.driver, due, next_at=next_snapshot(due.account_id, now))
    if is_new:
        event = AccountStatsCollected(account_id=due.account_id, user_id=due.user_id, collected_at=now, **numbers._asdict())
        context = Context.of_service(SERVICE, user_id=due.user_id)
        await outbox.emit(tx, event, subject=str(due.account_id), context=context)
    return is_new
