"""Where a post's video is, for the publisher alone: the address may hold a signature, so no event tells it whole."""

from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from common.database.database import Database
from common.http.identity import caller
from scheduler.storage.posts import source_url_of
from scheduler.usecases.problems import post_not_found


class Source(BaseModel):
    """The whole address."""

    source_url: str


def sources_router(database: Database) -> APIRouter:
    """Return the route below `/internal/posts`."""
    router = APIRouter(prefix="/internal/posts", tags=["posts"], dependencies=[Depends(caller("publisher"))])

    @router.get("/{post_id}/source")
    async def source(post_id: UUID) -> Source:
        """Give the address of the post's video; 404 `post_not_found` when it has none."""
        async with database.read() as connection:
            url = await source_url_of(connection, post_id)
        if url is None:
            raise post_not_found()
        return Source(source_url=url)

    return router
