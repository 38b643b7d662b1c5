"""Reads a page of a user's audit trail."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from analytics.storage import audit
from analytics.storage.audit import AuditQuery, AuditRecord

TOTAL_CAP = 10_000


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Records newest first; `total` counts all that match, up to 10,000."""

    records: list[AuditRecord]
    total: int
    total_is_capped: bool
    has_more: bool


async def list_audit(
    connection: AsyncConnection, query: AuditQuery, *, before: tuple[datetime, UUID] | None, limit: int
) -> AuditPage:
    """Return the page after the keyset `before`; rows that arrive meanwhile shift nothing."""
    found = await audit.newest(connection, query, before=before, limit=limit + 1)
    total = await audit.count(connection, query, cap=TOTAL_CAP + 1)
    return AuditPage(found[:limit], min(total, TOTAL_CAP), total > TOTAL_CAP, len(found) > limit)
