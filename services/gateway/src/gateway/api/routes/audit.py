"""The audit trail."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from common.http.paging import Page
from gateway.api.callers import allowed
from gateway.api.documents import paging, parameters, problems, query
from gateway.api.forwarding import forward
from gateway.api.models.audit import AuditItem
from gateway.security.authenticator import Caller

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


@router.get(
    "",
    response_model=Page[AuditItem],
    responses=problems(401, 403),
    openapi_extra=parameters(
        *paging(50, 100),
        query("action", "Such as `post.scheduled`."),
        query("object_type", "user, session, api_key, account, media or post."),
        query("object_id", "The object's id."),
        query("from", "At or after.", type="string", format="date-time"),
        query("to", "Before.", type="string", format="date-time"),
    ),
)
async def list_audit(request: Request, caller: Annotated[Caller, Depends(allowed("audit:read"))]) -> Response:
    """List what happened to the user's things, newest first."""
    return await forward(request, "analytics", "/internal/audit", caller=caller)
