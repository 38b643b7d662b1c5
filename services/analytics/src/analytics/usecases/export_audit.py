"""Reads a user's audit trail from its beginning to its end, a page at a time."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from analytics.storage import audit
from analytics.storage.audit import AuditQuery, AuditRecord
from common.database import Database

PAGE = 1_000


async def export_audit(database: Database, query: AuditQuery, *, now: datetime) -> AsyncIterator[list[AuditRecord]]:
    """Yield pages of records, oldest first, up to `now`: what comes later is for the next export.

    Each page is a read of its own: whoever takes them slowly holds no connection and no snapshot meanwhile.
    """
    bounded = replace(query, until=min(query.until or now, now))
    after: tuple[datetime, UUID] | None = None
    while True:
        async with database.read() as connection:
            page = await audit.oldest(connection, bounded, after=after, limit=PAGE)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1].time, page[-1].id
