"""Keeps events."""

from collections.abc import Sequence
from uuid import UUID

from analytics.domain.event import Event
from analytics.domain.record import link
from analytics.storage import months
from analytics.storage import records as storage
from common.database import Transaction


async def record_events(tx: Transaction, batch: Sequence[Event]) -> list[Event]:
    """Append a batch to the audit trail; what is recorded already, under the same id, stays as it is. Returns what was new.

    Writers take turns until their transactions end, so the chain never forks, whichever replicas there are.
    """
    await storage.lock(tx.connection)
    by_id: dict[UUID, Event] = {}
    for event in batch:
        by_id.setdefault(event.id, event)
    end = await storage.end(tx.connection, list(by_id))
    fresh = [event for event in by_id.values() if event.id not in end.known]
    if not fresh:
        return []
    if end.month is not None:
        await months.add(tx.connection, end.month)
    await storage.append(tx.connection, link(end.head, end.now, fresh))
    return fresh
