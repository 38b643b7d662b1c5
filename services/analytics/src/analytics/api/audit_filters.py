"""Which part of a user's audit trail is asked for: the same query parameters for the list and for the export."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import AwareDatetime

from analytics.storage.audit import AuditQuery
from common.auth.claims import UserClaims
from common.errors import FieldError, Problem
from common.http.identity import require_scope

NAME_PATTERN = r"^[a-z0-9_.]+$"
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)

Name = Annotated[str | None, Query(max_length=201, pattern=NAME_PATTERN)]
Moment = Annotated[AwareDatetime | None, Query(ge=EARLIEST, lt=LATEST, description="RFC 3339 with an offset.")]


async def _asked(
    claims: Annotated[UserClaims, Depends(require_scope("audit:read"))],
    action: Name = None,
    object_type: Name = None,
    object_id: UUID | None = None,
    since: Annotated[Moment, Query(alias="from")] = None,
    until: Annotated[Moment, Query(alias="to")] = None,
) -> AuditQuery:
    """Return the caller's query; `from` is inclusive, `to` exclusive. Problem 422 when the span is empty."""
    if since is not None and until is not None and since >= until:
        error = FieldError("to", "not_after_from", "`to` must be later than `from`.")
        raise Problem(422, "invalid_request", "The request is not valid.", errors=[error])
    return AuditQuery(claims.user_id, action, object_type, object_id, since, until)


Asked = Annotated[AuditQuery, Depends(_asked)]
