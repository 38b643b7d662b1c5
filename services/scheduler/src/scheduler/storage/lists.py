"""Pages of posts and media: keyset, newest first, with a count that is capped."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.media import Media
from scheduler.domain.post import Post
from scheduler.storage.media import to_media
from scheduler.storage.posts import to_post
from scheduler.storage.tables import media, posts

COUNT_CAP = 10_001


@dataclass(frozen=True, slots=True)
class PostFilter:
    """Which posts of a user: state, account, scheduled time from (inclusive) and to (exclusive)."""

    status: str | None = None
    account_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


async def list_posts(
    connection: AsyncConnection, user_id: UUID, chosen: PostFilter, *, before: UUID | None, limit: int
) -> tuple[Sequence[Post], int]:
    """Return up to `limit` posts made before the post `before`, newest first, and the count of all, capped at 10,001."""
    conditions: list[ColumnElement[bool]] = [posts.c.user_id == user_id, posts.c.deleted_at.is_(None)]
    if chosen.status is not None:
        conditions.append(posts.c.status == chosen.status)
    if chosen.account_id is not None:
        conditions.append(posts.c.account_id == chosen.account_id)
    if chosen.since is not None:
        conditions.append(posts.c.scheduled_time >= chosen.since)
    if chosen.until is not None:
        conditions.append(posts.c.scheduled_time < chosen.until)
    rows, total = await _page(connection, posts, conditions, before=before, limit=limit)
    return [to_post(row) for row in rows], total


@dataclass(frozen=True, slots=True)
class MediaFilter:
    """Which files of a user: state, and `video` or `photo`."""

    status: str | None = None
    kind: str | None = None


async def list_media(
    connection: AsyncConnection, user_id: UUID, chosen: MediaFilter, *, before: UUID | None, limit: int
) -> tuple[Sequence[Media], int]:
    """Return up to `limit` files taken in before the file `before`, newest first, and the count of all, capped at 10,001."""
    conditions: list[ColumnElement[bool]] = [media.c.user_id == user_id, media.c.deleted_at.is_(None)]
    if chosen.status is not None:
        conditions.append(media.c.status == chosen.status)
    if chosen.kind is not None:
        is_photo = media.c.content_type.startswith("image/")
        conditions.append(is_photo if chosen.kind == "photo" else ~is_photo)
    rows, total = await _page(connection, media, conditions, before=before, limit=limit)
    return [to_media(row) for row in rows], total


async def _page(
    connection: AsyncConnection, table: Table, conditions: Sequence[ColumnElement[bool]], *, before: UUID | None, limit: int
) -> tuple[Sequence[Any], int]:
    capped = select(table.c.id).where(*conditions).limit(COUNT_CAP).subquery()
    count = select(func.count()).select_from(capped)
    # The count comes with the page: a second question would cost as much again as the page does.
    page = select(table, count.scalar_subquery()).where(*conditions).order_by(table.c.id.desc()).limit(limit)
    if before is not None:
        page = page.where(table.c.id < before)
    rows = (await connection.execute(page)).all()
    if rows:
        return [row[:-1] for row in rows], rows[0][-1]
    return [], 0 if before is None else int(await connection.scalar(count) or 0)
