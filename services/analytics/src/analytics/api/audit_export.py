"""`GET /internal/audit/export`: a user's own audit trail as a file, however long, in constant memory."""

from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from analytics.api.audit_filters import Asked
from analytics.api.audit_item import item_of
from analytics.domain.export import MEDIA_TYPES, Format, beginning, written
from analytics.storage.audit import AuditRecord
from analytics.usecases.export_audit import export_audit
from common.clock import utc_now
from common.database import Database


def audit_export_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["audit"])

    @router.get("/internal/audit/export", summary="A user's own audit trail as a file", response_class=StreamingResponse)
    async def get_audit_export(query: Asked, format: Format = "jsonl") -> StreamingResponse:  # noqa: A002 - the parameter's name
        """Oldest first, up to now. A failure after the beginning cuts the connection: the file ends before its last chunk."""
        now = utc_now()
        pages = export_audit(database, query, now=now)
        # Read before the answer begins: until then, a database that is away is a 503.
        first = await anext(pages, None) or []
        return StreamingResponse(
            _body(first, pages, format),
            media_type=MEDIA_TYPES[format],
            headers={"Content-Disposition": f'attachment; filename="audit-{now:%Y-%m-%d}.{format}"'},
        )

    return router


async def _body(
    first: Sequence[AuditRecord], rest: AsyncIterator[Sequence[AuditRecord]], wanted: Format
) -> AsyncIterator[bytes]:
    yield beginning(wanted) + written(map(item_of, first), wanted)
    async for page in rest:
        yield written(map(item_of, page), wanted)
