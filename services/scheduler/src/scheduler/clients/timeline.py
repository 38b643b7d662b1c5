"""A post's timeline, from analytics."""

from typing import Any
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import Problem, Transient
from common.http.client import ServiceClient

PATIENCE_S = 1.0

_log = structlog.get_logger(__name__)


class _Timeline(BaseModel):
    model_config = ConfigDict(extra="ignore")
    items: list[dict[str, Any]]


class TimelineClient:
    """Asks analytics what happened to a post."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def of_post(self, post_id: UUID, user_id: UUID) -> list[dict[str, Any]] | None:
        """Return the items of the timeline, None when they cannot be had within a second."""
        path = f"/internal/posts/{post_id}/timeline"
        try:
            body = await self._client.get(path, params={"user_id": str(user_id)}, timeout=PATIENCE_S)
            return _Timeline.model_validate(body).items
        except (Problem, Transient, ValidationError) as error:
            _log.info("timeline_unknown", post_id=str(post_id), reason=type(error).__name__)
            return None
