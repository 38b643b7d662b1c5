"""Keeps events."""

from collections.abc import Sequence

from analytics.domain.event import Event
from analytics.storage import events as storage
from common.database import Transaction


async def record_events(tx: Transaction, batch: Sequence[Event]) -> int:
    """Store a batch in one statement; what is stored already, under the same id, stays as it is. Returns how many were new."""
    return await storage.insert_new(tx.connection, batch)
