"""The audit trail."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from common.http.paging import Page
from gateway.api.callers import allowed
from gateway.api.documents import paging, parameters, problems, query, texts
from gateway.api.forwarding import forward
from gateway.api.models.audit import AuditItem
from gateway.api.streaming import ForwardedStream
from gateway.security.authenticator import Caller

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])
Reader = Annotated[Caller, Depends(allowed("audit:read"))]

_FILTERS = (
    query("action", "Such as `post.scheduled`."),
    query("object_type", "user, session, api_key, account, media or post."),
    query("object_id", "The object's id."),
    query("from", "At or after.", type="string", format="date-time"),
    query("to", "Before.", type="string", format="date-time"),
)


@router.get(
    "", response_model=Page[AuditItem], responses=problems(401, 403), openapi_extra=parameters(*paging(50, 100), *_FILTERS)
)
async def list_audit(request: Request, caller: Reader) -> Response:
    """List what happened to the user's things, newest first."""
    return await forward(request, "analytics", "/internal/audit", caller=caller)


@router.get(
    "/export",
    response_class=Response,
    responses=problems(401, 403) | texts("The file, as it is made.", "application/jsonl", "text/csv"),
    openapi_extra=parameters(
        query("format", "JSON Lines or CSV.", type="string", enum=["jsonl", "csv"], default="jsonl"), *_FILTERS
    ),
)
async def export_audit(request: Request, caller: Reader) -> Response:
    """Give the user's whole audit trail as a file, oldest first, up to now; two at a time."""
    return ForwardedStream(request, "analytics", "/internal/audit/export", caller=caller)
