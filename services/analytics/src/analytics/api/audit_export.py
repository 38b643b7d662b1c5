"""`GET /internal/audit/export`: a user's own audit trail as a file, however long, in constant memory."""

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from analytics.api.audit_filters import Asked
from analytics.api.audit_item import item_of
from analytics.api.file_answer import file_answer
from analytics.domain.export import beginning, written
from analytics.domain.file_formats import Format
from analytics.usecases.export_audit import export_audit
from common.clock import utc_now
from common.database import Database


def audit_export_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["audit"])

    @router.get("/internal/audit/export", summary="A user's own audit trail as a file", response_class=StreamingResponse)
    async def get_audit_export(query: Asked, format: Format = "jsonl") -> StreamingResponse:  # noqa: A002 - the parameter's name
        """Oldest first, up to now."""
        now = utc_now()
        pieces = (written(map(item_of, page), format) async for page in export_audit(database, query, now=now))
        return await file_answer(beginning(format), pieces, format, name="audit", now=now)

    return router
