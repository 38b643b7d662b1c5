"""Reads a stretch of a user's audit trail."""

from datetime import datetime
from uuid import UUID

from analytics.storage import audit
from analytics.storage.audit import AuditQuery, AuditRecord
from common.database import Connection

COUNT_LIMIT = 10_001


async def list_audit(
    connection: Connection, query: AuditQuery, *, before: tuple[datetime, UUID] | None, limit: int
) -> tuple[list[AuditRecord], int]:
    """Return up to `limit` records older than `before`, newest first, and how many match in all, counted up to 10,001.

    Rows that arrive meanwhile shift nothing: they are newer than `before` or take their own place.
    """
    records = await audit.newest(connection, query, before=before, limit=limit)
    return records, await audit.count(connection, query, limit=COUNT_LIMIT)
