"""`GET /internal/posts/{post_id}/timeline`: what happened to a post, for the scheduler."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from analytics.api.audit_filters import EARLIEST, LATEST
from analytics.usecases.read_timeline import read_timeline
from common.database import Database
from common.http.identity import caller


class TimelineEntry(BaseModel):
    """One thing that happened, as a sentence and as data."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    type: str
    message: str
    attempt: int | None
    replica: str | None
    details: dict[str, Any]


class Timeline(BaseModel):
    """A post's timeline, oldest first; `truncated`: there is, or may have been, more."""

    items: list[TimelineEntry]
    truncated: bool


def timeline_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["timeline"])

    @router.get("/internal/posts/{post_id}/timeline", dependencies=[Depends(caller("scheduler"))])
    async def get_timeline(
        post_id: UUID,
        user_id: Annotated[UUID, Query()],
        created_at: Annotated[AwareDatetime | None, Query(ge=EARLIEST, lt=LATEST)] = None,
    ) -> Timeline:
        """Up to 1,000 things; empty when no event of this post and user has arrived yet.

        Truncated when there are more, or when records were dropped that are not older than the post, `created_at` then.
        """
        async with database.read() as connection:
            read = await read_timeline(connection, post_id=post_id, user_id=user_id, created_at=created_at)
        return Timeline(items=[TimelineEntry.model_validate(item) for item in read.items], truncated=read.is_truncated)

    return router
