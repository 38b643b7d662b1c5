"""`/internal/posts`: lists, single posts, their status and details, for their owner only."""

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from common.auth.claims import UserClaims
from common.contracts.moment import Moment
from common.database.database import Database
from common.http.identity import require_scope
from common.http.json_response import json_response
from common.http.paging import decode_cursor, page_cursor, page_limit, page_of
from scheduler.clients.publisher import Progress, PublisherClient
from scheduler.clients.timeline import TimelineClient
from scheduler.domain.planning import Step, plan
from scheduler.domain.post import Post
from scheduler.domain.post_states import PostState
from scheduler.encoding import etag, media_json, moment, post_json
from scheduler.storage.lists import PostFilter, list_posts
from scheduler.storage.media import get_media
from scheduler.storage.posts import get_post
from scheduler.usecases.post_status import is_told_by_publisher, post_status
from scheduler.usecases.problems import post_not_found

Reader = Annotated[UserClaims, Depends(require_scope("posts:read"))]


def posts_router(database: Database, publisher: PublisherClient, timeline: TimelineClient) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/internal/posts", tags=["posts"])
    _add_list(router, database)

    @router.get("/{post_id}")
    async def get_one(post_id: UUID, user: Reader) -> Response:
        """Give one post; `ETag` is its version."""
        post = await _load(database, post_id, user)
        return json_response(post_json(post), headers={"ETag": etag(post)})

    @router.get("/{post_id}/status")
    async def get_status(post_id: UUID, user: Reader) -> Response:
        """Tell where the post is right now."""
        post = await _load(database, post_id, user)
        return json_response(post_status(post, await _progress(publisher, post)))

    @router.get("/{post_id}/detail")
    async def get_detail(post_id: UUID, user: Reader) -> Response:
        """Give the post with where it is right now, its plan, its timeline and its media."""
        post = await _load(database, post_id, user)
        told, attached, progress = await asyncio.gather(
            timeline.of_post(post.id, user.user_id, created_at=post.created_at),
            _attached(database, post),
            _progress(publisher, post),
        )
        is_fetching = progress is not None and progress.attempt == post.attempt and progress.is_fetching
        body = {
            "post": post_json(post),
            "planning": [_step_json(step) for step in plan(post, told.scheduled_at, is_fetching=is_fetching)],
            "execution_logs": told.items,
            "execution_logs_complete": told.is_complete,
            "attached_media": attached,
            "status": post_status(post, progress),
        }
        return json_response(body, headers={"ETag": etag(post)})

    return router


def _add_list(router: APIRouter, database: Database) -> None:
    @router.get("")
    async def get_posts(
        user: Reader,
        limit: int = page_limit(50, 100),
        cursor: str | None = page_cursor(),
        status: PostState | None = None,
        account_id: UUID | None = None,
        since: Annotated[Moment | None, Query(alias="from")] = None,
        until: Annotated[Moment | None, Query(alias="to")] = None,
    ) -> Response:
        """Give a page of the caller's posts, newest first; `from` and `to` bound the scheduled time."""
        chosen = PostFilter(None if status is None else status.value, account_id, since, until)
        scope = _scope(user, chosen)
        before = None if cursor is None else decode_cursor(cursor, [UUID], scope=scope)[0]
        async with database.read() as connection:
            rows, total = await list_posts(connection, user.user_id, chosen, before=before, limit=limit + 1)
        page = page_of(rows, limit=limit, total=total, item=post_json, key=lambda post: [post.id], scope=scope)
        return json_response(dict(page))


def _scope(user: UserClaims, chosen: PostFilter) -> str:
    """Return what a cursor of this list belongs to: its user and its filters."""
    times = [moment(value) for value in (chosen.since, chosen.until)]
    return f"posts:{user.user_id}:{chosen.status}:{chosen.account_id}:{times}"


async def _load(database: Database, post_id: UUID, user: UserClaims) -> Post:
    async with database.read() as connection:
        post = await get_post(connection, post_id, user.user_id)
    if post is None:
        raise post_not_found()
    return post


async def _progress(publisher: PublisherClient, post: Post) -> Progress | None:
    return await publisher.progress(post.id) if is_told_by_publisher(post) else None


async def _attached(database: Database, post: Post) -> list[dict[str, Any]]:
    if post.media_id is None:
        return []
    async with database.read() as connection:
        media = await get_media(connection, post.media_id, post.user_id)
    return [] if media is None else [media_json(media)]


def _step_json(step: Step) -> dict[str, Any]:
    times: dict[str, datetime | None] = {"started_at": step.started_at, "finished_at": step.finished_at}
    return {"step": step.step, "status": step.status, **{name: moment(value) for name, value in times.items()}}
