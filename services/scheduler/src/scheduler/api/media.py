"""`/internal/media`: the library of its owner."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from common.auth.claims import UserClaims
from common.database.database import Database
from common.http.identity import require_scope
from common.http.json_response import json_response
from common.http.paging import decode_cursor, page_cursor, page_limit, page_of
from scheduler.domain.media import thumbnail_key
from scheduler.encoding import media_json
from scheduler.storage.lists import MediaFilter, list_media
from scheduler.storage.media import get_media
from scheduler.storage.stored_objects import has_thumbnail
from scheduler.usecases.problems import media_not_found

Reader = Annotated[UserClaims, Depends(require_scope("posts:read"))]


def media_router(database: Database) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/internal/media", tags=["media"])

    @router.get("")
    async def get_list(
        user: Reader,
        limit: int = page_limit(50, 100),
        cursor: str | None = page_cursor(),
        status: Annotated[Literal["processing", "ready", "rejected"] | None, Query()] = None,
        kind: Annotated[Literal["video", "photo"] | None, Query()] = None,
    ) -> Response:
        """Give a page of the caller's files, newest first."""
        scope = f"media:{user.user_id}"
        before = None if cursor is None else decode_cursor(cursor, [UUID], scope=scope)[0]
        chosen = MediaFilter(status, kind)
        async with database.read() as connection:
            rows, total = await list_media(connection, user.user_id, chosen, before=before, limit=limit + 1)
        page = page_of(rows, limit=limit, total=total, item=media_json, key=lambda file: [file.id], scope=scope)
        return json_response(dict(page))

    @router.get("/{media_id}")
    async def get_one(media_id: UUID, user: Reader) -> Response:
        """Give one file."""
        async with database.read() as connection:
            media = await get_media(connection, media_id, user.user_id)
        if media is None:
            raise media_not_found()
        return json_response(media_json(media))

    @router.get("/{media_id}/objects")
    async def get_objects(media_id: UUID, user: Reader) -> Response:
        """Give one file with the keys of its bytes and its thumbnail (null when there is none): for the gateway alone."""
        async with database.read() as connection:
            media = await get_media(connection, media_id, user.user_id)
            if media is None:
                raise media_not_found()
            has = await has_thumbnail(connection, media.storage_key)
        return json_response(
            {
                "filename": media.filename,
                "content_type": media.content_type,
                "sha256": media.sha256,
                "storage_key": media.storage_key,
                "thumbnail_key": thumbnail_key(media.storage_key) if has else None,
            }
        )

    return router
