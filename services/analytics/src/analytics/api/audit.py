"""`GET /internal/audit`: a user's own audit trail."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel

from analytics.domain.audit import actor_of
from analytics.storage.audit import AuditQuery, AuditRecord
from analytics.usecases.list_audit import list_audit
from common.auth.claims import UserClaims
from common.database import Database
from common.errors import FieldError, Problem
from common.http.identity import require_scope
from common.http.paging import Page, decode_cursor, page_cursor, page_limit, page_of

CURSOR_SCOPE = "audit"
NAME_PATTERN = r"^[a-z0-9_.]+$"
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)

Name = Annotated[str | None, Query(max_length=201, pattern=NAME_PATTERN)]
Moment = Annotated[AwareDatetime | None, Query(ge=EARLIEST, lt=LATEST, description="RFC 3339 with an offset.")]


class ActorView(BaseModel):
    """Who did it: `user`, `api_key`, `service` or `operator`."""

    type: str
    id: str | None


class AuditItem(BaseModel):
    """One record of the trail."""

    id: UUID
    at: datetime
    actor: ActorView
    action: str
    object_type: str
    object_id: str | None
    result: str
    reason: str | None
    ip: str | None
    user_agent: str | None
    correlation_id: str | None
    changes: dict[str, Any] | None


def audit_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["audit"])

    @router.get("/internal/audit", summary="A user's own audit trail")
    async def get_audit(
        claims: Annotated[UserClaims, Depends(require_scope("audit:read"))],
        action: Name = None,
        object_type: Name = None,
        object_id: UUID | None = None,
        since: Annotated[Moment, Query(alias="from")] = None,
        until: Annotated[Moment, Query(alias="to")] = None,
        limit: int = page_limit(50, 100),
        cursor: str | None = page_cursor(),
    ) -> Page[AuditItem]:
        """Newest first; `from` is inclusive, `to` exclusive."""
        query = AuditQuery(claims.user_id, action, object_type, object_id, *_span(since, until))
        before = decode_cursor(cursor, (datetime, UUID), scope=CURSOR_SCOPE) if cursor is not None else None
        async with database.read() as connection:
            records, total = await list_audit(
                connection, query, before=(before[0], before[1]) if before else None, limit=limit + 1
            )
        return page_of(
            records, limit=limit, total=total, item=_item, key=lambda record: (record.time, record.id), scope=CURSOR_SCOPE
        )

    return router


def _span(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    if since is not None and until is not None and since >= until:
        error = FieldError("to", "not_after_from", "`to` must be later than `from`.")
        raise Problem(422, "invalid_request", "The request is not valid.", errors=[error])
    return since, until


def _item(record: AuditRecord) -> AuditItem:
    actor = actor_of(record.actor, record.user_id, record.source)
    return AuditItem(
        id=record.id,
        at=record.time,
        actor=ActorView(type=actor.type, id=actor.id),
        action=record.action,
        object_type=record.object_type,
        object_id=record.object_id,
        result=record.result,
        reason=record.reason,
        ip=record.client_ip,
        user_agent=record.user_agent,
        correlation_id=record.correlation_id,
        changes=record.changes,
    )
