"""Shapes of the audit trail."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel


class Actor(BaseModel):
    """Who did it."""

    type: str
    id: str | None = None


class AuditItem(BaseModel):
    """One thing that happened to something of the user's."""

    id: UUID
    at: datetime
    actor: Actor
    action: str
    object_type: str
    object_id: str | None = None
    result: str
    reason: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    correlation_id: str | None = None
    changes: dict[str, Any] | None = None
