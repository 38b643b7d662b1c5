"""`GET /internal/posts/{post_id}/timeline`: what happened to a post, for the scheduler."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

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
    """A post's timeline, oldest first."""

    items: list[TimelineEntry]


def timeline_router(database: Database) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["timeline"])

    @router.get("/internal/posts/{post_id}/timeline", dependencies=[Depends(caller("scheduler"))])
    async def get_timeline(post_id: UUID, user_id: Annotated[UUID, Query()]) -> Timeline:
        """Up to 1,000 things; empty when no event of this post and user has arrived yet."""
        async with database.read() as connection:
            items = await read_timeline(connection, post_id=post_id, user_id=user_id)
        return Timeline(items=[TimelineEntry.model_validate(item) for item in items])

    return router
