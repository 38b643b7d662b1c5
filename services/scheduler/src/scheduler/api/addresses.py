"""Where a post's video or photos are, for the publisher alone: an address may hold a signature, so no event tells it whole."""

from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from common.database.database import Database
from common.http.identity import caller
from scheduler.storage.posts import addresses_of
from scheduler.usecases.problems import post_not_found


class Addresses(BaseModel):
    """The whole addresses; none for a post from the media library."""

    source_url: str | None
    photo_urls: list[str]


def addresses_router(database: Database) -> APIRouter:
    """Return the route below `/internal/posts`."""
    router = APIRouter(prefix="/internal/posts", tags=["posts"], dependencies=[Depends(caller("publisher"))])

    @router.get("/{post_id}/addresses")
    async def addresses(post_id: UUID) -> Addresses:
        """Give the addresses of the post's video or photos; 404 `post_not_found`."""
        async with database.read() as connection:
            found = await addresses_of(connection, post_id)
        if found is None:
            raise post_not_found()
        source_url, photo_urls = found
        return Addresses(source_url=source_url, photo_urls=photo_urls)

    return router
