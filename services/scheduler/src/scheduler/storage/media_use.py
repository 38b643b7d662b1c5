"""Who uses a file of the library, and which files nobody has used for long."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from scheduler.domain.media import Media
from scheduler.storage.media import to_media
from scheduler.storage.tables import UNFINISHED_SQL, media, posts


async def posts_using(connection: AsyncConnection, media_id: UUID, *, limit: int) -> Sequence[UUID]:
    """Return up to `limit` posts that still need the file: drafts, waiting ones and those on their way."""
    statement = select(posts.c.id).where(posts.c.media_id == media_id, text(UNFINISHED_SQL)).order_by(posts.c.id).limit(limit)
    return list(await connection.scalars(statement))


async def lock_unused(connection: AsyncConnection, *, older_than: timedelta, limit: int) -> Sequence[Media]:
    """Return files, locked, that are older and that no post needs or has changed within that time.

    Files that somebody has locked are passed over. Whether a post uses one is looked at again once it is locked: a post made
    meanwhile held the lock.
    """
    old = media.c.created_at < func.now() - older_than
    chosen = select(media.c.id).where(media.c.deleted_at.is_(None), media.c.status != "processing", old, ~_used(older_than))
    ids = list(
        await connection.scalars(chosen.order_by(media.c.created_at).limit(limit).with_for_update(skip_locked=True, of=media))
    )
    if not ids:
        return []
    rows = await connection.execute(select(media).where(media.c.id.in_(ids), ~_used(older_than)))
    return [to_media(row) for row in rows]


async def forget_uploads(connection: AsyncConnection, *, older_than: timedelta) -> None:
    """Forget which uploads brought the files that are older: their ids and replies are pruned by then."""
    statement = update(media).where(media.c.command_id.is_not(None), media.c.created_at < func.now() - older_than)
    await connection.execute(statement.where(media.c.status != "processing").values(command_id=None))


def _used(within: timedelta) -> ColumnElement[bool]:
    needed = or_(text(UNFINISHED_SQL), posts.c.updated_at > func.now() - within)
    return exists(select(posts.c.id).where(posts.c.media_id == media.c.id, needed))
