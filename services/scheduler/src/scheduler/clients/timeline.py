"""A post's timeline, from analytics."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict

from common.errors import Problem, Transient
from common.http.client import ServiceClient

PATIENCE_S = 1.0

_log = structlog.get_logger(__name__)


class _Timeline(BaseModel):
    model_config = ConfigDict(extra="ignore")
    items: list[dict[str, Any]]
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """What happened to a post, oldest first; `is_complete` unless there is, or may be, more.

    `scheduled_at` is when it got its time, None where that is not told.
    """

    items: list[dict[str, Any]]
    is_complete: bool
    scheduled_at: datetime | None = None


class TimelineClient:
    """Asks analytics what happened to a post."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def of_post(self, post_id: UUID, user_id: UUID, *, created_at: datetime) -> Timeline:
        """Return the timeline of a post that was made then, an empty one when it cannot be had within a second."""
        path, params = f"/internal/posts/{post_id}/timeline", {"user_id": str(user_id), "created_at": created_at.isoformat()}
        try:
            told = _Timeline.model_validate(await self._client.get(path, params=params, timeout=PATIENCE_S))
            times = [datetime.fromisoformat(item["at"]) for item in told.items if item["type"] == "post.scheduled"]
        except (Problem, Transient, KeyError, TypeError, ValueError) as error:
            _log.info("timeline_unknown", post_id=str(post_id), reason=type(error).__name__)
            return Timeline([], is_complete=False)
        return Timeline(told.items, not told.truncated, times[-1] if times else None)
