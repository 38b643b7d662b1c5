"""`GET /internal/audit`: a user's own audit trail."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter

from analytics.api.audit_filters import Asked
from analytics.api.audit_item import AuditItem, item_of
from analytics.usecases.list_audit import list_audit
from common.database import Database
from common.http.paging import Page, decode_cursor, page_cursor, page_limit, page_of

CURSOR_SCOPE = "audit"


def audit_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["audit"])

    @router.get("/internal/audit", summary="A user's own audit trail")
    async def get_audit(query: Asked, limit: int = page_limit(50, 100), cursor: str | None = page_cursor()) -> Page[AuditItem]:
        """Newest first."""
        before = decode_cursor(cursor, (datetime, UUID), scope=CURSOR_SCOPE) if cursor is not None else None
        async with database.read() as connection:
            records, total = await list_audit(
                connection, query, before=(before[0], before[1]) if before else None, limit=limit + 1
            )
        return page_of(
            records,
            limit=limit,
            total=total,
            item=lambda record: AuditItem.model_validate(item_of(record)),
            key=lambda record: (record.time, record.id),
            scope=CURSOR_SCOPE,
        )

    return router
