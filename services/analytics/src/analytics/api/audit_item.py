"""One record of the trail as clients see it, in lists and in files."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from analytics.domain.audit import actor_of
from analytics.storage.audit import AuditRecord


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


def item_of(record: AuditRecord) -> dict[str, Any]:
    """Return the fields of an `AuditItem`, as plain values."""
    actor = actor_of(record.actor, record.user_id, record.source)
    return {
        "id": str(record.id),
        "at": record.time,
        "actor": {"type": actor.type, "id": actor.id},
        "action": record.action,
        "object_type": record.object_type,
        "object_id": record.object_id,
        "result": record.result,
        "reason": record.reason,
        "ip": record.client_ip,
        "user_agent": record.user_agent,
        "correlation_id": record.correlation_id,
        "changes": record.changes,
    }
